-- When did the deep analysis last run, and how did that end? $1: the task.
SELECT CAST(l.execution_date AS TEXT) AS execution_date, CAST(l.status AS TEXT) AS status
FROM deep_competitor_analysis_execution_logs l
WHERE l.task_id = $1
ORDER BY l.execution_date DESC, l.id DESC
LIMIT 1
