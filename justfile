# Recipes of the commands in CONTRIBUTING.md. `just` is a convenience: each line also runs without it.

# Lists the recipes.
default:
    @just --list

# After each change: unit tests, house rules, and tests/it as far as they do not wait. Three minutes on two cores.
quick:
    bash tests/run quick

# Runs all tests, or those that the arguments choose: `just test --test it coherence::`.
test *arguments:
    bash tests/run {{arguments}}

# Everything that has to pass before a change lands: format, contract, dependencies, lints, docs, tests.
ci:
    bash .ci/run

# Hours: the runs that are too long for a change.
long:
    bash tests/run long

# Random faults under load for some time, with the same seed if one is given: `just soak 20m 7`.
soak time="20m" seed="":
    bash tests/soak {{time}} {{seed}}

# Formats the code.
format:
    cargo fmt --all

# Lints all targets as they are tested.
lint:
    cargo clippy --workspace --all-targets --features userdata/mutants --locked -- -D warnings

# Serves the demo's data from ./data.
demo:
    cargo run -- serve --demo
