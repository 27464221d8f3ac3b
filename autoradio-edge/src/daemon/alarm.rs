//! Says when a task that the node cannot be without has ended, by a panic or otherwise.

use std::future::Future;

use tokio::sync::watch;

/// One alarm for all such tasks; the first to end raises it.
#[derive(Clone, Debug)]
pub(super) struct Alarm(watch::Sender<Option<&'static str>>);

impl Default for Alarm {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl Alarm {
    /// The same task, raising the alarm in its `name` when it ends, is dropped or panics.
    pub(super) fn watch<Task: Future>(
        &self,
        name: &'static str,
        task: Task,
    ) -> impl Future<Output = Task::Output> + use<Task> {
        let bell = Bell { alarm: self.clone(), name };
        async move {
            let _bell = bell;
            task.await
        }
    }

    /// Completes when the alarm is raised; the name of the task that did it.
    pub(super) async fn raised(&self) -> &'static str {
        let mut raised = self.0.subscribe();
        match raised.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            // This alarm lives, so its channel does.
            _ => std::future::pending().await,
        }
    }
}

struct Bell {
    alarm: Alarm,
    name: &'static str,
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.alarm.0.send_if_modified(|raised| {
            let first = raised.is_none();
            raised.get_or_insert(self.name);
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_raises_the_alarm_and_the_first_is_named() {
        let alarm = Alarm::default();
        let runs = tokio::spawn(alarm.watch("runs", std::future::pending::<()>()));
        let panics = alarm.watch("panics", async { panic!("as it is meant to") });
        assert!(tokio::spawn(panics).await.is_err());
        runs.abort();
        assert!(runs.await.is_err());
        assert_eq!(alarm.raised().await, "panics");
    }

    #[tokio::test]
    async fn a_task_that_just_ends_raises_it_too_and_a_running_one_does_not() {
        let alarm = Alarm::default();
        let running = alarm.watch("running", std::future::pending::<()>());
        let quiet = alarm.raised();
        tokio::select! {
            biased;
            name = quiet => panic!("{name} runs"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(alarm.watch("ends", async { 7 }).await, 7);
        assert_eq!(alarm.raised().await, "ends");
        drop(running);
    }
}
