-- Which pages of the site have the lowest scores? $1: the user, $2: the site's address.
-- Equal scores come in byte order, so that both databases list the same pages; the index still serves the scores.
SELECT CAST(a.page_url AS TEXT) AS page_url, CAST(a.overall_score AS TEXT) AS overall_score, CAST(a.status AS TEXT) AS status
FROM seo_page_audits a
WHERE a.user_id = $1 AND a.website_url = $2 AND a.overall_score IS NOT NULL
ORDER BY a.overall_score, a.page_url COLLATE "C"
LIMIT 5
