//! The vocabulary of the demo's five industries.

/// An industry. Its users plan its first topics, and competitors write about all of them, so that there are gaps.
#[derive(Debug)]
pub(super) struct Industry {
    /// An industry key.
    pub(super) name: &'static str,
    pub(super) company: &'static str,
    pub(super) topics: [&'static str; 12],
    pub(super) roles: [&'static str; 4],
    pub(super) pains: [&'static str; 4],
    pub(super) competitors: [&'static str; 5],
    pub(super) values: [&'static str; 3],
}

/// The number of topics that an industry's users have planned.
pub(super) const TOPICS_PLANNED: usize = 8;

pub(super) const PLATFORMS: [&str; 5] = ["linkedin", "twitter", "blog", "instagram", "youtube"];

/// Users get them in turn, in this order.
#[rustfmt::skip] // It would put each text on a line of its own.
pub(super) const INDUSTRIES: [Industry; 5] = [
    Industry {
        name: "technology",
        company: "Cloudworks",
        topics: [
            "cloud migration", "data security", "platform engineering", "release automation", "incident response",
            "developer onboarding", "cost observability", "edge computing", "zero trust", "model governance",
            "legacy modernisation", "service mesh",
        ],
        roles: ["platform engineers", "engineering managers", "security leads", "startup founders"],
        pains: ["slow releases", "unclear cloud bills", "too many tools", "audits that take weeks"],
        competitors: [
            "stackpeak.example", "nimbusly.example", "bytebridge.example", "opsgarden.example", "kernelhaus.example",
        ],
        values: ["clarity", "openness", "reliability"],
    },
    Industry {
        name: "marketing",
        company: "Brightpath",
        topics: [
            "email automation", "brand storytelling", "audience research", "landing pages", "content calendars",
            "newsletter growth", "attribution models", "influencer briefs", "lifecycle campaigns",
            "conversion copywriting", "customer interviews", "search intent",
        ],
        roles: ["marketing managers", "content leads", "growth marketers", "agency owners"],
        pains: ["reach without leads", "campaigns that nobody measures", "an empty calendar", "tone that varies"],
        competitors: [
            "leadloom.example", "copycrest.example", "funnelfox.example", "adorbit.example", "mailmeadow.example",
        ],
        values: ["honesty", "craft", "curiosity"],
    },
    Industry {
        name: "finance",
        company: "Ledgerline",
        topics: [
            "cash planning", "invoice automation", "fraud prevention", "audit readiness", "open banking",
            "payment reconciliation", "treasury dashboards", "credit scoring", "tax calendars", "embedded lending",
            "spend controls", "risk reporting",
        ],
        roles: ["finance directors", "controllers", "small business owners", "accountants"],
        pains: ["late payments", "month ends that drag on", "manual reconciliation", "changing rules"],
        competitors: [
            "pennytrail.example", "coinharbor.example", "balancebay.example", "taxgrove.example", "vaultly.example",
        ],
        values: ["trust", "precision", "transparency"],
    },
    Industry {
        name: "healthcare",
        company: "Carewell",
        topics: [
            "patient intake", "appointment reminders", "remote monitoring", "care coordination", "nurse scheduling",
            "medication safety", "discharge planning", "health literacy", "clinical audits", "waiting times",
            "consent forms", "home visits",
        ],
        roles: ["practice managers", "nurses", "clinic directors", "family doctors"],
        pains: ["missed appointments", "double documentation", "staff shortages", "confused patients"],
        competitors: [
            "clinicflow.example", "medimaple.example", "wardwise.example", "carecompass.example", "pulsepine.example",
        ],
        values: ["empathy", "safety", "evidence"],
    },
    Industry {
        name: "education",
        company: "Learnfield",
        topics: [
            "course design", "student feedback", "blended learning", "exam preparation", "reading groups",
            "peer tutoring", "learning analytics", "parent evenings", "accessible materials", "project weeks",
            "digital portfolios", "teacher training",
        ],
        roles: ["teachers", "school leaders", "course designers", "university lecturers"],
        pains: ["little time to prepare", "uneven participation", "scattered materials", "late feedback"],
        competitors: [
            "classcanopy.example", "tutortide.example", "lessonlark.example", "campuscrate.example",
            "studysprout.example",
        ],
        values: ["patience", "fairness", "curiosity"],
    },
];

/// `cloud migration` -> `Cloud migration`.
pub(super) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
