//! Batches as the API shows them.

use dormouse_core::command::{BatchReport, Evidence, ItemResult, StateName, Target};
use dormouse_core::event::Origin;
use dormouse_core::wire::Action;
use serde::Serialize;
use utoipa::ToSchema;

/// A batch and how it goes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Batch)]
pub(super) struct BatchBody {
    /// Which batch.
    pub(super) batch_id: String,
    /// What each target is told.
    pub(super) action: Action,
    /// Who ordered it.
    pub(super) origin: Origin,
    /// When.
    pub(super) created_at: String,
    /// `running` until every result is final, then `done`.
    pub(super) state: BatchState,
    /// How many results are in which state.
    pub(super) progress: BatchProgress,
    /// One result per target, in the order of the targets.
    pub(super) results: Vec<BatchResult>,
}

/// Whether a batch is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BatchState {
    /// Some results are not final.
    Running,
    /// All results are final.
    Done,
}

/// How many results are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchProgress {
    /// All of them.
    pub(super) total: u32,
    /// Those whose turn has not come.
    pub(super) waiting: u32,
    /// Those whose command is pending.
    pub(super) pending: u32,
    /// Those carried out.
    pub(super) success: u32,
    /// Those not carried out.
    pub(super) failed: u32,
    /// Those without a verdict in time.
    pub(super) timeout: u32,
    /// Those cancelled or replaced.
    pub(super) cancelled: u32,
    /// Those that were sent nothing.
    pub(super) refused: u32,
}

/// How one target fared.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResult {
    /// Whose.
    pub(super) device_id: String,
    /// Which socket; 0 for the whole strip.
    pub(super) socket_id: u8,
    /// Where it stands.
    pub(super) state: ResultState,
    /// Its command, once sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cmd_id: Option<String>,
    /// How success is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<Evidence>,
    /// Why it was refused, failed or cancelled, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// Where one target of a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ResultState {
    /// Its turn has not come.
    Waiting,
    /// It was sent nothing; `reason` says why.
    Refused,
    /// Its command waits for the verdict.
    Pending,
    /// Carried out.
    Success,
    /// Not carried out.
    Failed,
    /// No verdict came in time.
    Timeout,
    /// Nobody waits for it any more.
    Cancelled,
}

impl From<&BatchReport> for BatchBody {
    fn from(report: &BatchReport) -> Self {
        let batch = &report.batch;
        let results: Vec<BatchResult> = batch
            .targets
            .iter()
            .zip(&report.results)
            .map(|(target, result)| BatchResult::new(target, result))
            .collect();
        let progress = BatchProgress::of(&results);
        let running = progress.waiting + progress.pending > 0;
        Self {
            batch_id: batch.id.to_string(),
            action: batch.order.action,
            origin: batch.origin.clone(),
            created_at: batch.created_at.to_rfc3339(),
            state: if running {
                BatchState::Running
            } else {
                BatchState::Done
            },
            progress,
            results,
        }
    }
}

impl BatchProgress {
    fn of(results: &[BatchResult]) -> Self {
        let mut progress = Self::default();
        for result in results {
            progress.total += 1;
            let count = match result.state {
                ResultState::Waiting => &mut progress.waiting,
                ResultState::Refused => &mut progress.refused,
                ResultState::Pending => &mut progress.pending,
                ResultState::Success => &mut progress.success,
                ResultState::Failed => &mut progress.failed,
                ResultState::Timeout => &mut progress.timeout,
                ResultState::Cancelled => &mut progress.cancelled,
            };
            *count += 1;
        }
        progress
    }
}

impl BatchResult {
    fn new(target: &Target, result: &ItemResult) -> Self {
        let mut body = Self {
            device_id: target.device_id.to_string(),
            socket_id: target.socket.get(),
            state: ResultState::Waiting,
            cmd_id: None,
            evidence: None,
            reason: None,
        };
        match result {
            ItemResult::Waiting => {}
            ItemResult::Refused(refusal) => {
                body.state = ResultState::Refused;
                body.reason = Some(refusal.name().to_owned());
            }
            ItemResult::Sent(command) => {
                let state = &command.progress.state;
                body.state = match state.name() {
                    StateName::Pending => ResultState::Pending,
                    StateName::Success => ResultState::Success,
                    StateName::Failed => ResultState::Failed,
                    StateName::Timeout => ResultState::Timeout,
                    StateName::Cancelled => ResultState::Cancelled,
                };
                body.cmd_id = Some(command.id.to_string());
                body.evidence = state.evidence();
                body.reason = state.reason();
            }
        }
        body
    }
}
