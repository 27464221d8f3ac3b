//! Which etcd is asked next. Pure: an order of preference, and what is known of who failed.

/// Endpoints in order of preference: the local one first, then those that were given, then those that were found.
#[derive(Debug)]
pub(super) struct Endpoints<Access> {
    all: Vec<Endpoint<Access>>,
    failures: u64,
}

#[derive(Debug)]
struct Endpoint<Access> {
    url: String,
    access: Access,
    /// When it failed last, counted in failures; `None` once it has answered since.
    failed: Option<u64>,
}

impl<Access: Clone> Endpoints<Access> {
    pub(super) fn new(endpoints: Vec<(String, Access)>) -> Self {
        let all = endpoints.into_iter().map(|(url, access)| Endpoint { url, access, failed: None });
        Self { all: all.collect(), failures: 0 }
    }

    /// All, in the order in which they are to be asked: those not known to fail in order of preference, then the others,
    /// whoever failed longest ago first.
    pub(super) fn in_turn(&self) -> Vec<(String, Access)> {
        let mut turn: Vec<&Endpoint<Access>> = self.all.iter().collect();
        turn.sort_by_key(|endpoint| endpoint.failed);
        turn.into_iter().map(|it| (it.url.clone(), it.access.clone())).collect()
    }

    /// Those known to fail.
    pub(super) fn failing(&self) -> Vec<(String, Access)> {
        let failing = self.all.iter().filter(|endpoint| endpoint.failed.is_some());
        failing.map(|it| (it.url.clone(), it.access.clone())).collect()
    }

    /// Whether a question is better asked elsewhere: at the first that does not fail. What goes on at another would not
    /// be missed: no question would notice that its host is gone.
    pub(super) fn is_outdone(&self, url: &str) -> bool {
        let best = self.all.iter().find(|endpoint| endpoint.failed.is_none());
        best.is_some_and(|best| best.url != url)
    }

    /// Notes a failure. True if it is news.
    pub(super) fn failed(&mut self, url: &str) -> bool {
        self.failures += 1;
        let Some(endpoint) = self.all.iter_mut().find(|endpoint| endpoint.url == url) else {
            return false;
        };
        endpoint.failed.replace(self.failures).is_none()
    }

    /// Notes an answer. True if it is news.
    pub(super) fn answered(&mut self, url: &str) -> bool {
        let endpoint = self.all.iter_mut().find(|endpoint| endpoint.url == url);
        endpoint.is_some_and(|endpoint| endpoint.failed.take().is_some())
    }

    /// Those of `urls` that are no endpoints yet.
    pub(super) fn missing(&self, urls: &[String]) -> Vec<String> {
        let known = |url: &String| self.all.iter().any(|endpoint| endpoint.url == *url);
        urls.iter().filter(|url| !known(url)).cloned().collect()
    }

    /// Lets all but the first `given` endpoints be those of `found`, with `made` for what was missing. What is known of
    /// those that stay is kept, and so are their connections.
    pub(super) fn replace_found(
        &mut self,
        given: usize,
        found: &[String],
        made: Vec<(String, Access)>,
    ) {
        let old = self.all.split_off(given.min(self.all.len()));
        self.all.extend(old.into_iter().filter(|endpoint| found.contains(&endpoint.url)));
        let made = made.into_iter().filter(|(url, _)| found.contains(url));
        self.all.extend(made.map(|(url, access)| Endpoint { url, access, failed: None }));
    }

    /// All URLs, for messages.
    pub(super) fn urls(&self) -> String {
        self.all.iter().map(|endpoint| endpoint.url.as_str()).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(urls: &[&str]) -> Endpoints<()> {
        Endpoints::new(urls.iter().map(|url| ((*url).to_owned(), ())).collect())
    }

    fn turn(endpoints: &Endpoints<()>) -> String {
        endpoints.in_turn().into_iter().map(|(url, ())| url).collect()
    }

    #[test]
    fn who_fails_is_asked_last_until_it_answers_again() {
        let mut endpoints = endpoints(&["a", "b", "c"]);
        assert_eq!(turn(&endpoints), "abc");
        assert!(endpoints.failed("a") && !endpoints.failed("a"), "news once");
        assert_eq!(turn(&endpoints), "bca");
        endpoints.failed("b");
        endpoints.failed("c");
        assert_eq!(turn(&endpoints), "abc", "whoever failed longest ago is the best guess");
        assert!(endpoints.answered("b") && !endpoints.answered("b"));
        assert_eq!(turn(&endpoints), "bac");
        endpoints.answered("a");
        assert_eq!(turn(&endpoints), "abc", "back to the first");
        assert_eq!(endpoints.failing(), [("c".to_owned(), ())]);
    }

    #[test]
    fn an_endpoint_is_only_left_for_a_better_one() {
        let mut endpoints = endpoints(&["a", "b"]);
        assert!(!endpoints.is_outdone("a"));
        assert!(endpoints.is_outdone("b"), "questions go to the first, and so should a watch");
        endpoints.failed("a");
        assert!(endpoints.is_outdone("a") && endpoints.is_outdone("gone"));
        endpoints.failed("b");
        assert!(!endpoints.is_outdone("a"), "there is nowhere to go");
    }

    #[test]
    fn found_endpoints_follow_the_cluster_and_given_ones_stay() {
        let mut endpoints = endpoints(&["a", "b"]);
        let found = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        assert_eq!(endpoints.missing(&found(&["b", "c"])), ["c"]);
        let made = |url: &str| vec![(url.to_owned(), ())];
        endpoints.replace_found(1, &found(&["a", "b", "c"]), made("c"));
        assert_eq!(turn(&endpoints), "abc", "nothing twice");
        endpoints.failed("c");
        endpoints.replace_found(1, &found(&["c", "d"]), made("d"));
        assert_eq!(turn(&endpoints), "adc", "what is known of who stays is kept");
        endpoints.replace_found(1, &[], made("e"));
        assert_eq!(turn(&endpoints), "a", "given ones stay");
    }
}
