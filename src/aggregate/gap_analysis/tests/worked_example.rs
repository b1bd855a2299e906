//! The worked example of data.md section 7, to 1e-6.

use super::*;

#[track_caller]
#[test]
fn worked_example_figures_to_a_millionth() {
    let rows = worked_example();
    let strategy = rows.strategy();
    let corpus = Corpus::new(&rows.input(&strategy));
    let keywords = Keywords::of(&rows.onboarding);
    let topics = Topics::find(&corpus, &keywords);

    #[rustfmt::skip]
    let expected = [
        // term, cov alpha, cov beta, comp, own, demand, gap score, n, idf, label
        ("autom", 0.807_175, 0.508_475, 0.657_825, 0.0, 1.0, 0.657_825, 4, 0.287_682, "automation"),
        ("email autom", 0.736_196, 0.508_475, 0.622_335, 0.0, 1.0, 0.622_335, 3, 0.538_997, "email automation"),
        ("autom playbook", 0.676_692, 0.0, 0.338_346, 0.0, 0.5, 0.169_173, 1, 1.386_294, "automation playbook"),
        ("autom templat", 0.582_524, 0.0, 0.291_262, 0.0, 0.5, 0.145_631, 1, 1.386_294, "automation templates"),
        ("newslett growth", 0.0, 0.756_303, 0.378_151, 0.714_286, 0.911_028, 0.098_430, 1, 1.386_294, "newsletter growth"),
        ("newslett", 0.0, 0.805_369, 0.402_685, 0.806_452, 0.911_028, 0.071_005, 2, 0.875_469, "newsletter"),
    ];
    assert_eq!(topics.all.len(), expected.len());
    for (term, alpha, beta, comp, own, demand, gap_score, n, idf, label) in expected {
        let topic = topics.all.iter().find(|topic| topic.stems == term).expect(term);
        for (actual, expected) in [
            (topic.coverage[0], alpha),
            (topic.coverage[1], beta),
            (topic.competitor_coverage, comp),
            (topic.own_coverage, own),
            (topic.demand, demand),
            (topic.gap_score(), gap_score),
            (topic.idf, idf),
        ] {
            close(actual, expected);
        }
        assert_eq!((topic.passages.len(), topic.label), (n, label));
    }
}

#[test]
fn worked_example_outputs() {
    let analysis = worked_example().analyse();
    assert_eq!((analysis.competitors_compared, analysis.topics_considered), (2, 6));
    assert_eq!(reason(&analysis), None);

    let gaps: Vec<_> =
        analysis.content_gaps.iter().map(|g| (g.topic.as_str(), g.gap_score.unwrap(), g.priority.as_str())).collect();
    assert_eq!(
        gaps,
        [
            ("automation", 0.6578, "high"),
            ("email automation", 0.6223, "high"),
            ("automation playbook", 0.1692, "medium"),
            ("automation templates", 0.1456, "low"),
            ("newsletter growth", 0.0984, "low"),
            ("newsletter", 0.071, "low"),
        ]
    );
    let first = &analysis.content_gaps[0];
    let evidence: Vec<_> = first.evidence.iter().map(|e| (e.competitor.as_str(), e.field.as_str())).collect();
    assert_eq!(
        evidence,
        [("alpha.example", "title"), ("alpha.example", "highlights[0]"), ("alpha.example", "summary")]
    );
    assert_eq!((first.competitors_covering, first.origin()), (Some(2), GapOrigin::Computed));

    let keywords: Vec<_> =
        analysis.keyword_opportunities.iter().map(|k| (k.keyword.as_str(), k.opportunity_score)).collect();
    assert_eq!(keywords, [("email automation", 85.0), ("newsletter growth", 36.99)]);

    let [alpha, beta] = &analysis.competitor_insights[..] else { panic!("two competitors") };
    assert_eq!(alpha.topics, ["automation playbook", "automation templates", "email automation", "automation"]);
    assert_eq!((alpha.topic_coverage, alpha.overlap), (0.4671, 0.0));
    assert_eq!(beta.topics, ["newsletter growth", "newsletter", "email automation", "automation"]);
    assert_eq!((beta.topic_coverage, beta.overlap), (0.4298, 0.5891));
}

#[test]
fn worked_example_advice() {
    let analysis = worked_example().analyse();
    let advice: Vec<_> = analysis.recommendations.iter().map(|r| (r.title.as_str(), r.description.as_str())).collect();
    assert_eq!(
        advice,
        [
            ("Cover automation", "2 of 2 competitors cover it; own coverage 0 %."),
            ("Cover email automation", "2 of 2 competitors cover it; own coverage 0 %."),
            ("Cover automation playbook", "1 of 2 competitors cover it; own coverage 0 %."),
            ("Cover automation templates", "1 of 2 competitors cover it; own coverage 0 %."),
            ("Cover newsletter growth", "1 of 2 competitors cover it; own coverage 71 %."),
            ("Target email automation", "Opportunity score 85."),
        ]
    );
    let times: Vec<_> = analysis.recommendations.iter().map(|r| r.implementation_time.as_str()).collect();
    assert_eq!(times, ["2 weeks", "2 weeks", "4 weeks", "8 weeks", "8 weeks", "2 weeks"]);
    assert_eq!(
        analysis.recommendations[0].content_suggestions,
        ["Email automation playbook", "Automation templates", "Email automation for small teams."]
    );
    let opportunities: Vec<_> =
        analysis.opportunities.iter().map(|o| (o.r#type(), o.title.as_str(), o.score.unwrap())).collect();
    assert_eq!(
        opportunities,
        [
            (OpportunityType::Topic, "automation", 0.6578),
            (OpportunityType::Topic, "email automation", 0.6223),
            (OpportunityType::Topic, "automation playbook", 0.1692),
            (OpportunityType::Keyword, "email automation", 0.85),
        ]
    );
}
