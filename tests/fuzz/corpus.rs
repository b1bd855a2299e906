//! Every input that the search has found to reach something new, and every one that was ever wrong.

use std::{fs, path::Path};

use userdata::fuzzing;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 6] = [
    ("ai_answer", fuzzing::ai_answer),
    ("preface", fuzzing::preface),
    ("record", fuzzing::record),
    ("request", fuzzing::request),
    ("row", fuzzing::row),
    ("token", fuzzing::token),
];

#[test]
fn what_the_search_has_found_is_still_decoded_rightly() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for file in fs::read_dir(corpus.join(name)).unwrap() {
            let file = file.unwrap().path();
            let input = fs::read(&file).unwrap();
            let said = std::panic::catch_unwind(|| target(&input));
            assert!(said.is_ok(), "{}", file.display());
            inputs += 1;
        }
        assert!(inputs > 10, "{name}: {inputs} inputs");
    }
}
