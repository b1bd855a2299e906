-- How did the pages of the site do in their audits? $1: the user, $2: the site's address.
SELECT
    COUNT(*) AS pages_audited,
    COUNT(a.overall_score) AS pages_scored,
    AVG(CAST(a.overall_score AS DOUBLE PRECISION)) AS avg_score,
    COUNT(CASE WHEN a.overall_score IS NOT NULL AND LOWER(a.status) = 'fix_scheduled' THEN 1 END) AS fix_scheduled_pages
FROM seo_page_audits a
WHERE a.user_id = $1 AND a.website_url = $2
