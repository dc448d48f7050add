//! Many devices at once: all of them or none, with a verdict on each row.

use std::collections::HashSet;

use serde_json::json;

use super::{Registry, RegistryError, edit};
use crate::access::{Actor, Grant, Permission};
use crate::device::{DeviceSettings, DeviceState, SettingsEdit};
use crate::ids::DeviceId;
use crate::location;
use crate::ports::{DeviceAccess, DeviceChange, DeviceWrites, NewDevice, StoredDevice};
use crate::secret::{DeviceDigest, Secret};

/// The ids that the audit log names of one import.
const AUDIT_IDS: usize = 1_000;

/// What an import does with a device that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ImportMode {
    /// Refuses the row, and so the import.
    #[default]
    Refuse,
    /// Leaves the device as it is.
    Skip,
    /// Gives it the row's settings; its credentials stay.
    Update,
}

/// One row: what it says, or the field and rule that it broke.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRow {
    /// The line in the file, from 1.
    pub line: u64,
    /// What it says.
    pub content: Result<(DeviceId, SettingsEdit), RowError>,
}

/// A field of a row that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The column.
    pub field: String,
    /// The rule.
    pub rule: String,
}

/// The verdict on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// The device is added; with its password unless this was a dry run.
    Added(DeviceId, Option<Secret>),
    /// The device got the row's settings.
    Updated(DeviceId),
    /// The device was there and is left as it is.
    Unchanged(DeviceId),
    /// The row broke a rule.
    Refused(Vec<RowError>),
}

/// What an import would write.
#[derive(Default)]
struct Plan {
    add: Vec<NewDevice>,
    update: Vec<StoredDevice>,
    ids: Vec<DeviceId>,
}

impl Registry {
    /// Adds and updates devices as `rows` say, if none of them is refused;
    /// with `dry_run` only tells. Returns a verdict for each row, and whether
    /// anything was written. `grant` limits where devices may be put.
    ///
    /// # Errors
    /// When the store cannot take them or changed meanwhile; nothing is
    /// written then.
    pub async fn import(
        &self,
        actor: &Actor,
        grant: &Grant,
        rows: Vec<ImportRow>,
        mode: ImportMode,
        dry_run: bool,
    ) -> Result<(Vec<RowOutcome>, bool), RegistryError> {
        let _writing = self.writing.lock().await;
        let mut plan = Plan::default();
        let mut seen = HashSet::new();
        let outcomes: Vec<RowOutcome> = rows
            .into_iter()
            .map(|row| self.judge_row(row, grant, mode, dry_run, &mut seen, &mut plan))
            .collect();
        let refused = outcomes
            .iter()
            .any(|it| matches!(it, RowOutcome::Refused(_)));
        if dry_run || refused {
            return Ok((outcomes, false));
        }
        self.carry_out(actor, plan).await?;
        Ok((outcomes, true))
    }

    fn judge_row(
        &self,
        row: ImportRow,
        grant: &Grant,
        mode: ImportMode,
        dry_run: bool,
        seen: &mut HashSet<DeviceId>,
        plan: &mut Plan,
    ) -> RowOutcome {
        let (id, edit) = match row.content {
            Ok(content) => content,
            Err(error) => return RowOutcome::Refused(vec![error]),
        };
        let known = self.entry(&id).ok();
        let base = known.as_ref().map_or_else(
            || DeviceSettings {
                location: location::suggest(id.as_str()).unwrap_or_default(),
                ..DeviceSettings::default()
            },
            |known| known.device.settings.clone(),
        );
        let settings = edit.apply(base);
        let mut errors = rule_errors(&settings);
        if !seen.insert(id.clone()) {
            errors.push(error("deviceId", "occurs twice in the file"));
        }
        if !grant.allows_at(Permission::Manage, &settings.location) {
            errors.push(error("location", "outside of what you may manage"));
        }
        if let Some(known) = &known {
            if !grant.allows_at(Permission::Manage, &known.device.settings.location) {
                errors.push(error("deviceId", "outside of what you may manage"));
            } else if mode == ImportMode::Refuse {
                errors.push(error("deviceId", "there is already a device with this id"));
            }
        }
        if !errors.is_empty() {
            return RowOutcome::Refused(errors);
        }
        match known {
            Some(known) if mode == ImportMode::Skip || known.device.settings == settings => {
                RowOutcome::Unchanged(id)
            }
            Some(known) => {
                let mut next = edit::stored(&known);
                next.device.settings = settings;
                next.device.version = next.device.version.saturating_add(1);
                plan.update.push(next);
                plan.ids.push(id.clone());
                RowOutcome::Updated(id)
            }
            None => {
                let password = Secret::device_password();
                plan.add.push(NewDevice {
                    id: id.clone(),
                    state: DeviceState::Active,
                    settings,
                    access: DeviceAccess::Credentials(DeviceDigest::of(&password)),
                    created_at: self.parts.clock.now(),
                });
                plan.ids.push(id.clone());
                RowOutcome::Added(id, (!dry_run).then_some(password))
            }
        }
    }

    async fn carry_out(&self, actor: &Actor, plan: Plan) -> Result<(), RegistryError> {
        let added = plan.add.len();
        let writes = DeviceWrites {
            insert: plan.add,
            swap: plan.update,
        };
        for (at, device) in self.store_writes(writes).await?.into_iter().enumerate() {
            let change = if at < added {
                DeviceChange::Added
            } else {
                DeviceChange::Edited
            };
            self.take_over(device, Some(change), &actor.origin);
        }
        let named = &plan.ids[..plan.ids.len().min(AUDIT_IDS)];
        let data = json!({ "devices": plan.ids.len(), "ids": named });
        let target = "devices".to_owned();
        self.parts
            .audit
            .write(actor, "device.import", target, data)
            .await?;
        Ok(())
    }
}

fn rule_errors(settings: &DeviceSettings) -> Vec<RowError> {
    let broken = settings.check().err().unwrap_or_default();
    let name = |it: crate::device::BrokenRule| error(it.field, it.rule);
    broken.into_iter().map(name).collect()
}

fn error(field: &str, rule: &str) -> RowError {
    RowError {
        field: field.to_owned(),
        rule: rule.to_owned(),
    }
}
