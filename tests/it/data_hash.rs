//! The key of a document equals what existing callers compute in Python, for any parameters.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use proptest::{collection, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value as Json, json};
use userdata::{
    model::{Parameters, StrategyId, UserDataQuery, UserId},
    proto::{Kind, ListValue, NullValue, Struct, Value},
};

use testkit::cluster::{Layout, cluster};

/// The plan's formula; one line in, one line out.
const FORMULA: &str = r#"
import hashlib, json, sys
for line in sys.stdin.buffer:
    user_id, strategy_id, kwargs = json.loads(line)
    text = f"{user_id}_{strategy_id}_{json.dumps(kwargs, sort_keys=True)}"
    print(hashlib.sha256(text.encode()).hexdigest(), flush=True)
"#;

/// What is asked for.
#[derive(Clone, Debug)]
struct Question {
    user: String,
    strategy: Option<i64>,
    parameters: Struct,
}

/// One Python for all questions; it ends when its input does.
struct Python {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let mut process = Command::new("python3")
            .args(["-c", FORMULA])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to run the tests");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    fn hash(&mut self, question: &Question) -> String {
        let kwargs = as_python_has_it(&Kind::StructValue(question.parameters.clone()));
        let line = json!([question.user, question.strategy, kwargs]);
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        let mut hash = String::new();
        self.output.read_line(&mut hash).unwrap();
        hash.trim_end().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.input.take();
        let _ended = self.process.wait();
    }
}

/// A caller's `kwargs`. A Struct holds only doubles: what is whole and exact was an `int`.
fn as_python_has_it(kind: &Kind) -> Json {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    let inner = |value: &Value| value.kind.as_ref().map_or(Json::Null, as_python_has_it);
    match kind {
        Kind::NullValue(_) => Json::Null,
        Kind::BoolValue(truth) => json!(truth),
        #[expect(clippy::cast_possible_truncation, reason = "checked: whole and below 2^53")]
        Kind::NumberValue(number) if number.fract() == 0.0 && number.abs() < EXACT_BELOW => json!(*number as i64),
        Kind::NumberValue(number) => json!(number),
        Kind::StringValue(text) => json!(text),
        Kind::ListValue(list) => list.values.iter().map(inner).collect(),
        Kind::StructValue(object) => object.fields.iter().map(|(key, value)| (key.clone(), inner(value))).collect(),
    }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("a Struct in JSON has finite numbers only", |number| number.is_finite()),
        (-1000_i32..1000).prop_map(f64::from),
        (-100_000_i32..100_000).prop_map(|cents| f64::from(cents) / 100.0),
        // Where integers end, and where Python changes the notation.
        prop::sample::select(vec![
            0.0,
            -0.0,
            1e-4,
            9.999e-5,
            1e-5,
            5e-324,
            2e-308,
            9_007_199_254_740_991.0,
            9_007_199_254_740_992.0,
            -9_007_199_254_740_993.0,
            1e15,
            1e16,
            1e17,
            9.999_999_999_999_998e15,
            1e21,
            1e22,
            1e23,
            1.797_693_134_862_315_7e308,
            123_456_789.125,
            -784_672_282_232_325.3,
            0.1,
        ]),
    ]
}

fn parameters() -> impl Strategy<Value = Struct> {
    // Any character: those that JSON escapes, those that only Python escapes, and beyond 16 bits.
    let text = || prop_oneof![any::<String>(), "[ -~]{0,12}", "[\\x00-\\x1f\"\\\\/\\x7f\u{80}\u{ffff}\u{10000}]{0,6}"];
    let leaf = prop_oneof![
        Just(Kind::NullValue(NullValue::NullValue.into())),
        any::<bool>().prop_map(Kind::BoolValue),
        number().prop_map(Kind::NumberValue),
        text().prop_map(Kind::StringValue),
    ];
    let object = move |inner: BoxedStrategy<Kind>| {
        collection::btree_map(text(), inner.prop_map(value), 0..5).prop_map(|fields: BTreeMap<_, _>| Struct { fields })
    };
    let nested = leaf.prop_recursive(5, 24, 5, move |inner| {
        prop_oneof![
            collection::vec(inner.clone().prop_map(value), 0..5)
                .prop_map(|values| Kind::ListValue(ListValue { values })),
            object(inner).prop_map(Kind::StructValue),
        ]
    });
    object(nested.boxed())
}

fn question(user: impl Strategy<Value = String>) -> impl Strategy<Value = Question> {
    (user, option::of(1..=i64::MAX), parameters())
        .prop_map(|(user, strategy, parameters)| Question { user, strategy, parameters })
        .prop_filter("within the limits", |question| Parameters::parse(&question.parameters).is_ok())
}

#[test]
fn a_key_is_what_python_computes() {
    let mut python = Python::start();
    let mut runner = TestRunner::new(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() });
    let python = std::cell::RefCell::new(&mut python);
    runner
        .run(&question("\\PC{1,40}".prop_filter("printable", |user| UserId::parse(user).is_ok())), |question| {
            let user = UserId::parse(&question.user).unwrap();
            let strategy = question.strategy.and_then(StrategyId::new);
            let parameters = Parameters::parse(&question.parameters).unwrap();
            let ours = UserDataQuery::new(user, strategy, parameters).key().hash.to_string();
            prop_assert_eq!(ours, python.borrow_mut().hash(&question));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn an_answer_names_the_key_that_python_computes() {
    let cluster = cluster(Layout::Sqlite).await;
    let users = ["1", "user_33Gz1FPI86V", "demo_chloé", "a b/\"\u{1f600}"];
    for (id, user) in (11..).zip(users) {
        cluster.sources.add_user(user, &[id]).await;
    }
    let server = cluster.serve().await;
    let client = server.client().await;
    let mut python = Python::start();
    let mut runner = TestRunner::deterministic();
    let questions = question(prop::sample::select(users.to_vec()).prop_map(str::to_owned));
    for _ in 0..25 {
        let mut question = questions.new_tree(&mut runner).unwrap().current();
        // Only strategies that are there have documents.
        let own = (11..).zip(users).find(|(_, user)| *user == question.user).unwrap().0;
        question.strategy = question.strategy.map(|_| own.into());
        let request = userdata::proto::v1::GetComprehensiveUserDataRequest {
            user_id: question.user.clone(),
            strategy_id: question.strategy,
            parameters: Some(question.parameters.clone()),
            ..Default::default()
        };
        let answer = client.clone().get_comprehensive_user_data(request).await.unwrap().into_inner();
        assert_eq!(answer.cache_info.unwrap().data_hash, python.hash(&question), "{question:?}");
    }
}
