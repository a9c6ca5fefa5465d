//! ADD: gather, plan, record, attach one network after the other, move the default routes, report.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use plexus_api::cni::{CniError, Code, PluginResult, Version};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::network_status::sandbox;
use super::request::CniRequest;
use super::routes;
use super::undo::Undo;
use crate::clock::unix_ms;
use crate::config::Settings;
use crate::context::Context;
use crate::delegate::{AddError, AttachGuard, PluginCall, Priority};
use crate::gather;
use crate::ledger::{AddLock, FORMAT, LedgerError, Line, PLEXUSD, Planned, Record};
use crate::netns::Netns;
use crate::plan::{Warning, plan};
use crate::report::NotYet;
use crate::report::events::EventReason;
use crate::telemetry;

impl Context {
    /// Attaches a sandbox to its networks and answers with the default network's result (decision 9).
    pub(super) async fn add(
        &self,
        incoming: &CniRequest,
        gone: CancellationToken,
    ) -> Result<Box<RawValue>, CniError> {
        self.try_add(incoming, gone)
            .await
            .map_err(|error| error.context(incoming.subject()))
    }

    async fn try_add(
        &self,
        incoming: &CniRequest,
        gone: CancellationToken,
    ) -> Result<Box<RawValue>, CniError> {
        if incoming.config.raw("prevResult").is_some() {
            // Running behind another plugin would need its interfaces in our answer (P-082).
            let msg =
                "the configuration has prevResult; Plexus must be the first plugin of its list";
            return Err(CniError::new(Code::InvalidConfig, msg));
        }
        let env = &incoming.env;
        let lock = self
            .ledger
            .lock_for_add(&env.container_id, &env.ifname)
            .await?;
        let is_first = refuse_second(&lock, &env.ifname)?;
        let call = incoming.delegate_call(incoming.settings.add_timeout, gone);
        let prepared = self.prepare(incoming, &call).await.inspect_err(|_| {
            // The DEL that follows need not look for what it could delete; a link of that name is another's.
            if is_first {
                lock.remember_nothing(&env.ifname);
            }
        });
        let (netns, planned) = prepared?;
        let record = lock.plan(planned).await?;
        let subject = incoming.subject();
        let guard = Some(
            self.delegates
                .attach_guard(Priority::Add, &subject, &record.planned.attachments)
                .await,
        );
        let mut adding = Adding {
            context: self,
            incoming,
            call,
            netns,
            lock: &lock,
            record,
            results: Vec::new(),
            guard,
        };
        let outcome = caught(adding.run()).await;
        let Err(error) = outcome else { return outcome };
        let Adding {
            call,
            record,
            guard,
            ..
        } = adding;
        if !call.cancel.is_cancelled() {
            self.reporter.event(
                &record.planned.pod,
                EventReason::AttachFailed,
                format!("{error}; the runtime will try again"),
            );
        }
        let _guard = match guard {
            Some(guard) => guard,
            None => {
                self.delegates
                    .attach_guard(Priority::Del, &subject, &record.planned.attachments)
                    .await
            }
        };
        let nothing_made = record.attachments.iter().all(|state| state.added.is_none());
        let undo = Undo {
            host: call.host,
            netns: env.netns.clone(),
            path: call.path,
            env: call.env,
        };
        let undone = self
            .undo(&lock, record, undo, incoming.settings.del_timeout)
            .await;
        if let Err(failures) = &undone {
            tracing::warn!(pod = %incoming.pod, %failures, "rollback is not complete; it will be tried again");
        }
        // Code 3 tells the runtime that there is nothing to clean up (P-041, decision 24).
        if error.is(Code::UnknownContainer) && !(nothing_made && undone.is_ok()) {
            return Err(CniError {
                code: Code::PluginFailed as u32,
                ..error
            });
        }
        Err(error)
    }

    /// What to attach, of which every plugin is there; nothing has run. Tells the pod where it is refused.
    async fn prepare(
        &self,
        incoming: &CniRequest,
        call: &PluginCall,
    ) -> Result<(Netns, Planned), CniError> {
        let path = Path::new(incoming.env.netns.as_deref().unwrap_or_default());
        let mut netns = Netns::open(path, &incoming.host).await?;
        let planned = self.plan(incoming, call, &mut netns).await;
        let planned = planned.inspect_err(|error| self.tell_refusal(incoming, error))?;
        telemetry::CallSpan::record_networks(&planned.networks());
        for attachment in &planned.attachments {
            let found = self.delegates.find(call, &attachment.config).await;
            let found = found.map_err(|error| error.context(attachment.place()));
            found.inspect_err(|error| self.tell_refusal(incoming, error))?;
        }
        Ok((netns, planned))
    }

    async fn plan(
        &self,
        incoming: &CniRequest,
        call: &PluginCall,
        netns: &mut Netns,
    ) -> Result<Planned, CniError> {
        let links = netns
            .links()
            .await?
            .into_iter()
            .map(|link| link.name)
            .collect();
        let asked = incoming.asked()?;
        let (store, live) = (&self.store, self.live.as_deref());
        let snapshot = tokio::select! {
            snapshot = gather::snapshot(store, live, &self.default_network, &incoming.settings, &asked, links, call.deadline) => snapshot?,
            () = call.cancel.cancelled() => return Err(caller_gone()),
        };
        let plan = plan(&snapshot)?;
        for Warning { kind, text } in plan.warnings {
            self.reporter.event(&snapshot.pod, kind.into(), text);
        }
        Ok(Planned {
            format: FORMAT,
            plexusd: PLEXUSD.to_owned(),
            container_id: incoming.env.container_id.clone(),
            ifname: incoming.env.ifname.clone(),
            netns: incoming.env.netns.clone().unwrap_or_default(),
            netns_id: Some(netns.id()),
            boot_id: self.boot_id.clone(),
            created_unix_ms: unix_ms(),
            created_boottime_ns: incoming.arrived_boottime_ns,
            pod: snapshot.pod,
            cni_path: incoming.env.path.clone(),
            attachments: plan.attachments,
            default_routes: plan.default_routes,
        })
    }

    /// Tells the pod why nothing is attached, where that is about the pod.
    fn tell_refusal(&self, incoming: &CniRequest, error: &CniError) {
        if let Some((reason, remedy)) = EventReason::of_refusal(error) {
            self.reporter
                .event(&incoming.pod, reason, format!("{}; {remedy}", error.msg));
        }
    }
}

/// An ADD from its recorded plan to its answer.
struct Adding<'a> {
    context: &'a Context,
    incoming: &'a CniRequest,
    call: PluginCall,
    netns: Netns,
    lock: &'a AddLock,
    record: Record,
    results: Vec<PluginResult>,
    /// The right to run plugins, until they have run.
    guard: Option<AttachGuard>,
}

impl Adding<'_> {
    async fn run(&mut self) -> Result<Box<RawValue>, CniError> {
        for index in 0..self.record.planned.attachments.len() {
            self.attach(index).await?;
        }
        self.move_default_routes().await?;
        let answer = self.answer()?;
        self.report().await?;
        self.lock.append(&mut self.record, Line::Completed)?;
        // Nobody would ever delete what nobody knows of (decision 15).
        if self.call.cancel.is_cancelled() {
            return Err(caller_gone());
        }
        let planned = &self.record.planned;
        self.context
            .reporter
            .attached(&planned.pod, &planned.attachments, &self.results);
        Ok(answer)
    }

    /// The default network's result on the wire. One that the runtime's version cannot express is refused while it can
    /// still be undone.
    fn answer(&self) -> Result<Box<RawValue>, CniError> {
        let default = self
            .results
            .first()
            .ok_or_else(|| CniError::new(Code::Internal, "a plan without a network"))?;
        default.to_version(self.incoming.version)?;
        Ok(default.to_version(Version::LATEST)?.raw().to_owned())
    }

    async fn attach(&mut self, index: usize) -> Result<(), CniError> {
        let attachment = self.record.planned.attachments[index].clone();
        let context = attachment.place();
        if self.call.cancel.is_cancelled() {
            return Err(caller_gone().context(context));
        }
        // An earlier plugin may have made a link of this name (P-080); it is not ours to delete then.
        if self.netns.has_link(&attachment.ifname).await? {
            let msg = "the sandbox has a link of this name already";
            return Err(CniError::new(Code::InterfaceTaken, msg).context(context));
        }
        self.lock
            .append(&mut self.record, Line::Started { index })?;
        let result = match self.context.delegates.add(&self.call, &attachment).await {
            Ok(result) => result,
            Err(AddError { error, ran }) => {
                if !ran {
                    // Its DEL would fail as its ADD did, for ever.
                    self.lock
                        .append(&mut self.record, Line::Deleted { index })?;
                }
                return Err(error.context(context));
            }
        };
        self.lock.append(
            &mut self.record,
            Line::Added {
                index,
                result: result.raw().to_owned(),
            },
        )?;
        self.results.push(result);
        Ok(())
    }

    /// Moves the default routes in the sandbox, and in the results, so that answer, ledger and network-status say
    /// what the kernel does (K-042).
    async fn move_default_routes(&mut self) -> Result<(), CniError> {
        let planned = &self.record.planned;
        let changed = routes::apply(
            &mut self.netns,
            &planned.attachments,
            planned.default_routes,
            &mut self.results,
        )
        .await?;
        for index in changed {
            let result = self.results[index].raw().to_owned();
            self.lock
                .append(&mut self.record, Line::Added { index, result })?;
        }
        Ok(())
    }

    /// Begins to write network-status and waits a little for it; where it takes longer, it goes on alone (decision 19).
    async fn report(&mut self) -> Result<(), CniError> {
        // The plugins have run. Whoever waits for a turn need not wait for the API server as well.
        self.guard = None;
        let Settings {
            status_required,
            status_wait,
            ..
        } = self.incoming.settings;
        let reporter = &self.context.reporter;
        let planned = &self.record.planned;
        let is_overdue = reporter.is_overdue() && !status_required;
        let limit = if is_overdue {
            Duration::ZERO
        } else {
            status_wait
        };
        let sandbox = sandbox(planned);
        let ledger = &self.context.ledger;
        let is_newest = || ledger.is_newest(planned, &self.context.boot_id);
        let write = reporter.network_status(
            sandbox,
            &planned.attachments,
            &self.results,
            status_wait,
            is_newest,
        );
        let mut write = write.await;
        match write.done_within(limit, status_required).await {
            Ok(()) => Ok(self.lock.append(&mut self.record, Line::StatusWritten)?),
            Err(error) if status_required && error != NotYet::NoMirror => {
                let msg =
                    format!("network-status cannot be written, and statusRequired is set: {error}");
                Err(CniError::new(Code::TryAgain, msg))
            }
            Err(error) => {
                if is_overdue {
                    tracing::debug!(pod = %planned.pod, "network-status is written later, as others are");
                } else {
                    tracing::warn!(pod = %planned.pod, %error, "network-status is not written yet; it will be tried again");
                }
                self.context.record_when_written(planned, write);
                Ok(())
            }
        }
    }
}

/// What `work` comes to; a panic is an error as any other, and is undone as any other (P-046).
async fn caught<T>(work: impl Future<Output = Result<T, CniError>>) -> Result<T, CniError> {
    // What the panic interrupted is looked at no more, but for the record, which says what was begun.
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(CniError::new(
                Code::Internal,
                "plexusd panicked; its log has the place. Please report it",
            ))
        })
}

/// A (container, interface) that is recorded is attached, and stays so (P-081). A record that cannot be read is out of
/// the way by now; the new one takes its place, and the answer is that there was one.
fn refuse_second(lock: &AddLock, ifname: &str) -> Result<bool, LedgerError> {
    match lock.load(ifname) {
        Ok(None) => Ok(true),
        Ok(Some(record)) => {
            let Planned {
                container_id,
                ifname,
                ..
            } = record.planned;
            Err(LedgerError::AlreadyAttached {
                container_id,
                ifname,
            })
        }
        Err(error) if error.is_quarantined() => {
            tracing::error!(%error, "the record of an earlier ADD cannot be read");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn caller_gone() -> CniError {
    CniError::new(
        Code::TryAgain,
        "the runtime went away in the middle of the call",
    )
}

#[cfg(test)]
mod tests {
    use plexus_api::rows;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_to_undo() {
        rows!("P-046");
        let outcome = caught::<u8>(async {
            tokio::task::yield_now().await;
            panic!("as a defect would")
        });
        let error = outcome.await.expect_err("it panicked");
        assert!(
            error.code >= 100 && error.msg.contains("panicked"),
            "{error}"
        );
        assert_eq!(caught(async { Ok(7) }).await, Ok(7));
        let refused = CniError::new(Code::TryAgain, "later");
        assert_eq!(
            caught::<u8>(async { Err(refused.clone()) }).await,
            Err(refused)
        );
    }
}
