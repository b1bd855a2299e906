-- What did the deep analysis last find? $1: the task, $2: bytes of a JSON column at most.
SELECT CASE WHEN octet_length(CAST(l.result_data AS TEXT)) > $2 THEN '#' ELSE CAST(l.result_data AS TEXT) END AS result_data
FROM deep_competitor_analysis_execution_logs l
WHERE l.task_id = $1 AND l.status = 'success'
ORDER BY l.execution_date DESC, l.id DESC
LIMIT 1
