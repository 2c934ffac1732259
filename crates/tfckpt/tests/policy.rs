//! What holds for every set of rules and every history of checkpoints.

use proptest::prelude::*;
use tfckpt::{Dropped, Goal, Reason, Record, Retention, Verdict};

/// One call on a [`Retention`].
#[derive(Debug, Clone)]
enum Rule {
    Latest(usize),
    Best(&'static str, Goal, usize),
    EverySteps(u64),
    EveryHours(f64),
    MaxBytes(u64),
}

fn with(retention: Retention, rule: &Rule) -> Retention {
    match *rule {
        Rule::Latest(count) => retention.latest(count),
        Rule::Best(metric, goal, count) => retention.best(metric, goal, count),
        Rule::EverySteps(steps) => retention.every_steps(steps),
        Rule::EveryHours(hours) => retention.every_hours(hours),
        Rule::MaxBytes(bytes) => retention.max_bytes(bytes),
    }
}

fn retention(rules: &[Rule]) -> Retention {
    rules.iter().fold(Retention::default(), with)
}

fn rule() -> impl Strategy<Value = Rule> {
    let metric = prop::sample::select(vec!["loss", "accuracy"]);
    let goal = prop::sample::select(vec![Goal::Min, Goal::Max]);
    prop_oneof![
        (metric, goal, 0usize..4).prop_map(|(metric, goal, count)| Rule::Best(metric, goal, count)),
        (0u64..40).prop_map(Rule::EverySteps),
        prop::sample::select(vec![-1.0, 0.0, 0.5, 1.0, 2.5, f64::NAN]).prop_map(Rule::EveryHours),
    ]
}

/// Rules that only add to what is kept, and a number of the latest.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    (0usize..5, prop::collection::vec(rule(), 0..5)).prop_map(|(latest, mut rules)| {
        rules.push(Rule::Latest(latest));
        rules
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0i32..6).prop_map(|n| f64::from(n) / 4.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]),
    ]
}

/// A history: steps and times mostly grow, and now and then a run went back or a clock was set back.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (
        -3i64..20,
        prop_oneof![9 => 0f64..5000.0, 1 => prop::sample::select(vec![-9000.0, f64::NAN, f64::INFINITY])],
        0u64..50,
        prop::option::of(value()),
        prop::option::of(value()),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 0..25).prop_map(|all| {
        let (mut step, mut time) = (0, 1.7e9);
        let mut records = Vec::new();
        for (i, (steps, seconds, bytes, loss, accuracy, pinned, preserved)) in all.into_iter().enumerate() {
            step += steps;
            time += seconds;
            let mut record = Record::new(format!("model.ckpt-{i}"), step, time)
                .bytes(bytes)
                .pinned(pinned);
            record.preserved = preserved;
            record.metrics.extend(loss.map(|loss| ("loss".to_owned(), loss)));
            record
                .metrics
                .extend(accuracy.map(|accuracy| ("accuracy".to_owned(), accuracy)));
            records.push(record);
            time = if time.is_finite() { time } else { 1.7e9 };
        }
        records
    })
}

fn kept(verdicts: &[Verdict]) -> Vec<&str> {
    verdicts.iter().filter(|v| v.keeps()).map(|v| v.name.as_str()).collect()
}

fn remaining(records: &[Record], verdicts: &[Verdict]) -> Vec<Record> {
    let kept = verdicts.iter().map(Verdict::keeps);
    records
        .iter()
        .zip(kept)
        .filter(|(_, kept)| *kept)
        .map(|(record, _)| record.clone())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_checkpoint_gets_a_verdict_and_every_verdict_its_reason(rules in rules(), records in records(), budget in 0u64..200) {
        let verdicts = retention(&rules).max_bytes(budget).decide(&records);
        prop_assert!(verdicts.iter().map(|v| &v.name).eq(records.iter().map(|r| &r.name)));
        for verdict in &verdicts {
            prop_assert_eq!(verdict.keeps(), !verdict.kept.is_empty());
            let text = verdict.to_string();
            prop_assert!(text.starts_with(if verdict.keeps() { "kept: " } else { "dropped: " }), "{}", text);
        }
    }

    #[test]
    fn the_newest_and_the_pinned_are_always_kept(rules in rules(), records in records(), budget in prop::option::of(0u64..200)) {
        let retention = budget.map(Rule::MaxBytes).iter().fold(retention(&rules), with);
        let verdicts = retention.decide(&records);
        prop_assert!(verdicts.last().is_none_or(Verdict::keeps));
        for (record, verdict) in records.iter().zip(&verdicts) {
            prop_assert!(verdict.keeps() || !record.pinned);
            prop_assert!(verdict.keeps() || !record.preserved || budget.is_some());
        }
    }

    #[test]
    fn another_rule_never_drops_what_was_kept(rules in rules(), another in rule(), records in records()) {
        let before = retention(&rules);
        let after = with(before.clone(), &another);
        let (before, after) = (before.decide(&records), after.decide(&records));
        for name in kept(&before) {
            prop_assert!(kept(&after).contains(&name));
        }
    }

    #[test]
    fn the_order_of_the_rules_does_not_matter(
        (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        records in records(),
        budget in 0u64..200,
    ) {
        let (a, b) = (retention(&rules).max_bytes(budget), with(Retention::default(), &Rule::MaxBytes(budget)));
        let b = shuffled.iter().fold(b, with);
        prop_assert_eq!(a.decide(&records), b.decide(&records));
    }

    #[test]
    fn deciding_again_about_what_was_kept_keeps_it_all(
        rules in rules(), records in records(), budget in prop::option::of(0u64..300),
    ) {
        let retention = budget.map(Rule::MaxBytes).iter().fold(retention(&rules), with);
        let verdicts = retention.decide(&records);
        let left = remaining(&records, &verdicts);
        let again = retention.decide(&left);
        prop_assert!(again.iter().all(Verdict::keeps), "{:?}", again);
        let kept: Vec<Verdict> = verdicts.into_iter().filter(Verdict::keeps).collect();
        prop_assert_eq!(again, kept);
    }

    #[test]
    fn deciding_after_every_save_keeps_what_deciding_once_would(rules in rules(), records in records()) {
        // Of the steps of a run that never goes back; the latest and the best are then the same either way.
        let mut records = records;
        records.sort_by_key(|record| record.global_step);
        let retention = retention(&rules);
        let mut left: Vec<Record> = Vec::new();
        for record in &records {
            left.push(record.clone());
            left = remaining(&left, &retention.decide(&left));
        }
        let at_once = remaining(&records, &retention.decide(&records));
        prop_assert_eq!(format!("{left:?}"), format!("{at_once:?}"));
    }

    #[test]
    fn a_lowered_limit_catches_up_at_once(latest in 1usize..5, rules in prop::collection::vec(rule(), 0..4), records in records()) {
        let verdicts = retention(&rules).latest(latest).decide(&records);
        prop_assert_eq!(verdicts.iter().filter(|v| v.is_latest()).count(), latest.min(records.len()));
        let only_latest = Retention::default().latest(latest).decide(&records);
        let set_aside = records.iter().rev().skip(latest).filter(|r| r.pinned || r.preserved).count();
        prop_assert_eq!(kept(&only_latest).len(), latest.min(records.len()) + set_aside);
    }

    #[test]
    fn the_best_are_the_best_whatever_else_is_measured(count in 0usize..5, records in records()) {
        let verdicts = Retention::default().best("loss", Goal::Min, count).decide(&records);
        let mut expected: Vec<(f64, i64, usize)> = records.iter().enumerate()
            .filter_map(|(i, r)| Some((*r.metrics.get("loss")?, r.global_step, i)))
            .filter(|(loss, ..)| loss.is_finite())
            .map(|(loss, step, i)| (loss + 0.0, step, i))
            .collect();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
        expected.truncate(count);
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (i, verdict) in verdicts.iter().enumerate() {
            found.extend(verdict.kept.iter().filter_map(|reason| match reason {
                Reason::Best { rank, .. } => Some((*rank, i)),
                _ => None,
            }));
        }
        found.sort();
        prop_assert_eq!(found, (1..).zip(expected.iter().map(|(.., i)| *i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_budget_is_held_unless_the_newest_and_the_pinned_need_more(rules in rules(), records in records(), budget in 0u64..300) {
        let retention = retention(&rules).max_bytes(budget);
        let verdicts = retention.decide(&records);
        let left = remaining(&records, &verdicts);
        let bytes: u64 = left.iter().map(|r| r.bytes).sum();
        let newest = records.last().map(|r| &r.name);
        prop_assert!(bytes <= budget || left.iter().all(|r| r.pinned || Some(&r.name) == newest));
    }
}

fn history(losses: &[f64]) -> Vec<Record> {
    let record = |(i, &loss): (usize, &f64)| {
        Record::new(format!("m-{i}"), i as i64 * 10, i as f64 * 1800.0)
            .metric("loss", loss)
            .bytes(100)
    };
    losses.iter().enumerate().map(record).collect()
}

#[test]
fn of_equal_metrics_the_earlier_step_is_the_better() {
    let records = history(&[0.5, 0.2, 0.2, 0.2, 0.9]);
    let verdicts = Retention::default()
        .latest(1)
        .best("loss", Goal::Min, 2)
        .decide(&records);
    assert_eq!(kept(&verdicts), ["m-1", "m-2", "m-4"]);
    assert_eq!(verdicts[2].to_string(), "kept: best loss (2 of 2: 0.2)");
    assert_eq!(verdicts[3].to_string(), "dropped: not the latest, and no rule keeps it");
}

#[test]
fn the_oldest_go_first_for_a_budget_and_the_best_after_all_others() {
    let records = history(&[0.1, 0.4, 0.2, 0.9, 0.8]);
    let retention = Retention::default().best("loss", Goal::Min, 2);
    let kept_within = |bytes| {
        let verdicts = retention.clone().max_bytes(bytes).decide(&records);
        kept(&verdicts).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept_within(400), ["m-0", "m-2", "m-3", "m-4"]);
    assert_eq!(kept_within(300), ["m-0", "m-2", "m-4"]);
    assert_eq!(kept_within(299), ["m-0", "m-4"]);
    assert_eq!(kept_within(0), ["m-4"]);
    let verdicts = retention.max_bytes(400).decide(&records);
    assert_eq!(verdicts[1].dropped, Some(Dropped::Budget { max_bytes: 400 }));
}

#[test]
fn of_each_stretch_of_steps_and_of_hours_the_first_is_kept() {
    // Steps 0, 10, 20, … half an hour apart.
    let records = history(&[0.0; 8]);
    let by_steps = Retention::default().latest(1).every_steps(25).decide(&records);
    assert_eq!(kept(&by_steps), ["m-0", "m-3", "m-5", "m-7"]);
    assert_eq!(by_steps[3].to_string(), "kept: first since step 25 (every 25 steps)");
    let by_hours = Retention::default().latest(1).every_hours(1.0).decide(&records);
    assert_eq!(kept(&by_hours), ["m-0", "m-2", "m-4", "m-6", "m-7"]);
    assert_eq!(by_hours[2].to_string(), "kept: first of its period (every 1 hours)");
}

#[test]
fn a_clock_that_was_set_back_begins_a_new_period() {
    let mut records = history(&[0.0; 5]);
    records[0].time = 1e12;
    let verdicts = Retention::default().latest(1).every_hours(1.0).decide(&records);
    assert_eq!(kept(&verdicts), ["m-0", "m-1", "m-3", "m-4"]);
}

#[test]
fn records_of_one_name_share_the_verdict_of_the_last() {
    let mut records = history(&[0.0; 3]);
    records[2].name = "m-0".to_owned();
    let verdicts = Retention::default().latest(1).decide(&records);
    assert_eq!(kept(&verdicts), ["m-0", "m-0"]);
}
