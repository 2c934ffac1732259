//! A renderer for Burn's learner that prints one line for each pass over the data, below which a bar grows.

use std::collections::{BTreeMap, HashMap};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricEntry, MetricId};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use indicatif::ProgressBar;

/// Prints the metrics at the end of each split of each epoch.
#[derive(Debug)]
pub(crate) struct Renderer {
    bar: ProgressBar,
    epoch: usize,
    split: String,
    names: HashMap<MetricId, String>,
    /// The latest text of each metric.
    texts: BTreeMap<String, String>,
}

impl Renderer {
    pub(crate) fn new(bar: ProgressBar) -> Self {
        Renderer {
            bar,
            epoch: 1,
            split: String::new(),
            names: HashMap::new(),
            texts: BTreeMap::new(),
        }
    }

    fn note(&mut self, state: MetricState) {
        let (MetricState::Generic(entry) | MetricState::Numeric(entry, _)) = state;
        let MetricEntry {
            metric_id,
            serialized_entry,
        } = entry;
        if let Some(name) = self.names.get(&metric_id) {
            // "epoch 0.3 - batch 0.2": the mean over the epoch is what counts.
            let text = serialized_entry.formatted;
            let mean = text
                .split(" - ")
                .next()
                .unwrap_or_default()
                .trim_start_matches("epoch ");
            self.texts.insert(name.clone(), mean.to_owned());
        }
    }
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        self.note(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.note(state);
    }
}

impl TrainingProgressLogger for Renderer {
    fn start(&mut self, _: usize, starting_epoch: usize, _: Option<usize>, _: Option<&str>) {
        self.epoch = starting_epoch;
    }

    fn start_split(&mut self, split: &str, items: usize) {
        self.split = split.to_owned();
        self.bar.reset();
        self.bar.set_length(items as u64);
        self.bar.set_message(format!("epoch {} {split}", self.epoch));
        self.texts.clear();
    }

    fn update_split(&mut self, items: usize) {
        self.bar.set_position(items as u64);
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn end_split(&mut self) {
        let texts: Vec<String> = self
            .texts
            .iter()
            .map(|(name, text)| format!("{} {text}", name.to_lowercase()))
            .collect();
        if !texts.is_empty() {
            let line = format!("epoch {} {}: {}", self.epoch, self.split, texts.join(", "));
            self.bar.suspend(|| println!("{line}"));
        }
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for Renderer {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name.to_string());
    }
}
