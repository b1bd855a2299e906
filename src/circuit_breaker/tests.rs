//! What opens and closes a circuit, for both ways of probing.

use super::*;

const PAUSE: Duration = Duration::from_secs(2);

fn breaker(probing: Probing, clock: &Clock) -> CircuitBreaker {
    CircuitBreaker::new("test", probing, 3, PAUSE, clock.clone())
}

fn opened(probing: Probing, clock: &Clock) -> CircuitBreaker {
    let breaker = breaker(probing, clock);
    (0..3).for_each(|_| breaker.failed(&"down"));
    breaker
}

mod in_background {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = breaker(Probing::InBackground, &Clock::system());
        for _ in 0..5 {
            breaker.failed(&"down");
            breaker.failed(&"down");
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
        (0..3).for_each(|_| breaker.failed(&"down"));
        assert!(!breaker.is_closed());
        assert_eq!(breaker.state(), "open");
    }

    #[test]
    fn only_a_probe_closes_it() {
        let clock = Clock::system();
        let breaker = opened(Probing::InBackground, &clock);
        breaker.succeeded();
        assert!(!breaker.is_closed(), "a late answer is no probe");
        assert!(!breaker.start_probe(), "not before the pause is over");
        clock.advance(PAUSE);
        assert_eq!((breaker.state(), breaker.pass()), ("open", None), "no call is the probe");
        assert!(breaker.start_probe());
        assert!(!breaker.start_probe(), "one probe at a time");
        assert_eq!(breaker.state(), "half_open");
        assert!(!breaker.is_closed(), "no request while it is probed");
        breaker.failed(&"still down");
        assert_eq!(breaker.state(), "open");
        clock.advance(PAUSE);
        assert!(breaker.start_probe());
        breaker.succeeded();
        assert!(breaker.is_closed());
        assert!(!breaker.start_probe());
    }

    #[test]
    fn a_lost_probe_is_repeated() {
        let clock = Clock::system();
        let breaker = opened(Probing::InBackground, &clock);
        clock.advance(PAUSE);
        assert!(breaker.start_probe());
        clock.advance(PAUSE);
        assert!(breaker.start_probe());
    }
}

mod by_the_next_call {
    use super::*;

    #[test]
    fn only_failures_in_a_row_open_it() {
        let clock = Clock::system();
        let breaker = breaker(Probing::NextCall, &clock);
        for _ in 0..5 {
            breaker.failed(&"down");
            breaker.failed(&"down");
            breaker.succeeded();
        }
        assert_eq!(breaker.pass(), Some(Pass::Ordinary));
        assert_eq!(opened(Probing::NextCall, &clock).pass(), None);
    }

    #[test]
    fn after_the_pause_one_run_goes_through_and_decides() {
        let clock = Clock::system();
        let breaker = opened(Probing::NextCall, &clock);
        clock.advance(PAUSE);
        assert_eq!(breaker.state(), "half_open");
        assert_eq!((breaker.pass(), breaker.pass()), (Some(Pass::Probe), None));
        breaker.failed(&"still down");
        assert_eq!((breaker.state(), breaker.pass()), ("open", None));
        clock.advance(PAUSE);
        assert_eq!(breaker.pass(), Some(Pass::Probe));
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.pass()), ("closed", Some(Pass::Ordinary)));
    }

    #[test]
    fn a_lost_probe_makes_room_for_the_next() {
        let clock = Clock::system();
        let breaker = opened(Probing::NextCall, &clock);
        clock.advance(PAUSE);
        assert_eq!(breaker.pass(), Some(Pass::Probe));
        clock.advance(PAUSE);
        assert_eq!(breaker.pass(), None, "however long the probe runs");
        breaker.probe_lost();
        assert_eq!(breaker.pass(), Some(Pass::Probe));
    }

    #[test]
    fn late_failures_do_not_prolong_the_pause() {
        let clock = Clock::system();
        let breaker = opened(Probing::NextCall, &clock);
        clock.advance(PAUSE / 2);
        breaker.failed(&"down");
        clock.advance(PAUSE / 2);
        assert_eq!(breaker.pass(), Some(Pass::Probe));
    }

    #[test]
    fn a_late_success_closes_it() {
        let breaker = opened(Probing::NextCall, &Clock::system());
        breaker.succeeded();
        assert_eq!(breaker.pass(), Some(Pass::Ordinary));
    }
}
