-- Changes of the sources on their way to the invalidation log, written in the writer's own transaction.
CREATE TABLE invalidation_outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    strategy_id BIGINT,
    sections BIGINT NOT NULL CHECK (sections <> 0),
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
