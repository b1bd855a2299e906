//! Which recommendations are shown, in which order, and how they are read.

use super::{enhanced, legacy, tables, user};
use crate::aggregate::performance::{
    recommendations,
    recommendations::{RECOMMENDATIONS, values},
    scope::AnalyticsScope,
};

#[tokio::test]
async fn recommendations_come_by_priority_then_newest_without_the_rejected() {
    let tables = tables().await;
    let insert = "INSERT INTO content_recommendations
        (id, strategy_id, user_id, recommendation_type, title, priority, status, updated_at) VALUES";
    tables
        .execute(&format!(
            "{insert}
             (1, NULL, 1, 't', 'low', 'low', 'accepted', '2025-08-01 00:00:00'),
             (2, 10, 1, 't', 'unset', NULL, NULL, NULL),
             (3, 10, 1, 't', 'high', 'HIGH', 'pending', '2025-07-01 00:00:00'),
             (4, 11, 1, 't', 'newer high', 'high', 'pending', '2025-07-02 00:00:00'),
             (5, 10, 1, 't', 'rejected', 'high', 'Rejected', '2025-07-02 00:00:00'),
             (6, 20, 2, 't', 'theirs', 'high', 'pending', '2025-07-02 00:00:00'),
             (7, 10, 1, 't', 'urgent', 'urgent', 'pending', '2025-08-02 00:00:00'),
             (8, NULL, 1, 't', 'medium', 'medium', 'implemented', '2025-06-01 00:00:00'),
             (9, NULL, 1, 't', 'same time', 'high', 'pending', '2025-07-02 00:00:00')"
        ))
        .await;
    for (of, resolved, expected) in [
        ("1", None, vec![9, 4, 3, 8, 2, 1, 7]),
        ("1", enhanced(10), vec![9, 4, 3, 8, 2, 1, 7]),
        ("1", legacy(10), vec![9, 3, 8, 2, 1, 7]),
        ("01", None, vec![]),
        ("anna", None, vec![]),
        ("3", None, vec![]),
    ] {
        let read = recommendations(&tables.database, &user(of), resolved).await.unwrap();
        let ids: Vec<i32> = read.value.iter().map(|recommendation| recommendation.id).collect();
        assert_eq!(ids, expected, "{of} {resolved:?}");
        let unset = read.value.iter().find(|recommendation| recommendation.id == 2);
        assert!(unset.is_none_or(|unset| unset.priority == "medium" && unset.status == "pending"));
    }

    for id in 100..160 {
        tables.execute(&format!("{insert} ({id}, NULL, 4, 't', 'many', NULL, NULL, NULL)")).await;
    }
    let many = recommendations(&tables.database, &user("4"), None).await.unwrap().value;
    assert_eq!((many.len(), many[0].id), (50, 159));
}

#[tokio::test]
async fn a_recommendation_is_carried_whole_and_its_odd_columns_are_left_out() {
    let tables = tables().await;
    tables
        .execute(&format!(
            "INSERT INTO content_recommendations VALUES
             (1, 10, 1, 'blog', 'Write', '{}', '[\"seo\", {{\"keyword\": \"ads\"}}]', '500 words', 'High', '\"x, blog\"',
              'good', 'Pending', '2025-08-01 00:00:00', '2025-08-02 00:00:00'),
             (2, NULL, 1, 'blog', 'Odd', NULL, '85', NULL, 'high', '{{\"a\": \"\\u0000\"}}', NULL, NULL, NULL, NULL)",
            "é".repeat(2001)
        ))
        .await;
    let read = recommendations(&tables.database, &user("1"), None).await.unwrap();
    assert_eq!(read.warnings.into_vec(), Vec::<String>::new());
    let mut whole = read.value[0].clone();
    assert_eq!(whole.description.take().unwrap(), "é".repeat(2000));
    assert_eq!(
        serde_json::to_value(whole).unwrap(),
        serde_json::json!({
            "id": 1, "strategy_id": "10", "user_id": "1", "recommendation_type": "blog", "title": "Write",
            "target_keywords": ["seo", "ads"], "estimated_length": "500 words", "priority": "High",
            "platforms": ["x", "blog"], "estimated_performance": "good", "status": "Pending",
            "created_at": "2025-08-01T00:00:00Z", "updated_at": "2025-08-02T00:00:00Z"
        })
    );
    let odd = &read.value[1];
    assert!(odd.target_keywords.is_empty() && odd.platforms.is_empty() && odd.strategy_id.is_none());

    tables.execute("UPDATE content_recommendations SET platforms = '{broken' WHERE id = 2").await;
    let read = recommendations(&tables.database, &user("1"), None).await.unwrap();
    assert_eq!(read.value.len(), 2);
    assert_eq!(read.warnings.into_vec(), ["MALFORMED_COLUMN content_recommendations.platforms"]);
}

#[tokio::test]
async fn the_statement_uses_the_index() {
    let tables = tables().await;
    let reading = tables.reading().await;
    for resolved in [None, legacy(10)] {
        let owner = user("1");
        let scope = AnalyticsScope::of(&owner, resolved);
        let plan = reading.plan(RECOMMENDATIONS, values(&reading, scope)).await;
        assert!(plan.contains("ix_content_recommendations_user (user_id=?)"), "{plan}");
    }
}
