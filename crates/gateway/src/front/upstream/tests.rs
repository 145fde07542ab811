use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::io::empty;

use super::*;
use crate::front::logins::{NoCredential, Origin};

/// A world in which things take as long, and fail as often, as it says.
#[derive(Default)]
struct World {
    sign_in: Duration,
    tunnel: Duration,
    tunnel_failures: AtomicUsize,
    fresh: Option<Duration>,
    refusals: AtomicUsize,
    rotates: bool,
    handed_out: AtomicUsize,
    refused: Mutex<Vec<Credential>>,
}

impl Logins for World {
    fn credential(&self) -> BoxFuture<'_, Result<Credential, NoCredential>> {
        let count = self.handed_out.fetch_add(1, SeqCst);
        async move {
            sleep(self.sign_in).await;
            let (user, password) = ("app".to_owned(), count.to_string().into());
            if self.rotates {
                Ok(Credential::Secret { user, password })
            } else {
                Ok(Credential::Token { user, token: password })
            }
        }
        .boxed()
    }

    fn refused(&self, credential: &Credential) {
        self.refused.lock().expect("no panic").push(credential.clone());
    }

    fn fresh_until(&self) -> Option<Instant> {
        self.fresh.map(|left| Instant::now() + left)
    }

    fn origin(&self) -> Origin {
        Origin::default()
    }
}

impl Upstream for World {
    fn connect(&self, _: Demand) -> BoxFuture<'_, Result<UpstreamStream, TunnelError>> {
        async {
            sleep(self.tunnel).await;
            if count_down(&self.tunnel_failures) {
                let message = "no answer".to_owned();
                return Err(TunnelError::Start(SessionError::Unreachable { message }));
            }
            Ok(Box::new(empty()) as UpstreamStream)
        }
        .boxed()
    }
}

fn count_down(left: &AtomicUsize) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl World {
    async fn log_in(&self) -> Result<(), TurnedAway> {
        let config = FrontConfig::example();
        let reach = Reach { config: &config, upstream: self, logins: self, demand: Demand::Interactive };
        reach.log_in(|_, _| std::future::ready(self.attempt()).boxed()).await
    }

    fn attempt(&self) -> Result<(), TryFailed> {
        let no = TurnedAway::new(Reason::Authentication, "28000", "no", None);
        if count_down(&self.refusals) { Err(TryFailed::Credential(no)) } else { Ok(()) }
    }
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_a_minute_for_a_person_or_a_tunnel_and_no_longer() {
    for (sign_in, tunnel, expected) in [(50, 0, None), (0, 50, None), (70, 0, Some("sign in")), (0, 70, Some("tunnel"))]
    {
        let [sign_in, tunnel] = [sign_in, tunnel].map(Duration::from_secs);
        let world = World { sign_in, tunnel, ..World::default() };
        let start = Instant::now();
        let outcome = world.log_in().await;
        match expected {
            None => outcome.expect("it is worth the wait"),
            Some(word) => {
                let why = outcome.expect_err("it takes too long");
                assert_eq!((why.reason, why.sqlstate.as_str()), (Reason::Late, "57P03"));
                assert!(why.message.contains(word) && why.hint.is_some(), "{why}");
                assert_eq!(seconds(start), 60);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_fails_is_asked_again_until_the_minute_is_over() {
    let world = World { tunnel_failures: AtomicUsize::new(3), ..World::default() };
    world.log_in().await.expect("it heals");
    let world = World { tunnel_failures: AtomicUsize::new(1_000), ..World::default() };
    let start = Instant::now();
    let why = world.log_in().await.expect_err("it does not heal");
    assert_eq!(why.reason, Reason::Route);
    assert!((58..=60).contains(&seconds(start)), "{}", seconds(start));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_grant_has_ninety_seconds_to_be_known() {
    let fresh = Some(Duration::from_secs(600));
    let world = World { fresh, refusals: AtomicUsize::new(30), ..World::default() };
    let start = Instant::now();
    world.log_in().await.expect("IAM has heard of it");
    assert_eq!(seconds(start), 60);
    let tokens = world.refused.lock().expect("no panic").clone();
    assert!(tokens.windows(2).all(|pair| pair[0] != pair[1]), "each try has a token of its own");

    let world = World { fresh, refusals: AtomicUsize::new(1_000), ..World::default() };
    let start = Instant::now();
    assert_eq!(world.log_in().await.expect_err("never").reason, Reason::Authentication);
    assert!((86..=90).contains(&seconds(start)), "{}", seconds(start));
}

#[tokio::test(start_paused = true)]
async fn an_old_grant_gets_one_new_token_and_a_secret_two_new_reads() {
    for (rotates, tries, took) in [(false, 2, 0), (true, 3, 2)] {
        let world = World { rotates, refusals: AtomicUsize::new(1_000), ..World::default() };
        let start = Instant::now();
        assert_eq!(world.log_in().await.expect_err("never").message, "no");
        assert_eq!(world.handed_out.load(SeqCst), tries);
        assert_eq!(seconds(start), took, "the first new one is tried at once");
    }
}

#[test]
fn postgresql_is_offered_a_key_for_the_one_group_that_its_defaults_take() {
    let first = |engine| {
        let config = tls_config(&FrontConfig { engine, ..FrontConfig::example() }).expect("safe defaults");
        config.crypto_provider().kx_groups.first().map(|group| group.name())
    };
    assert_eq!(first(Engine::Postgres), Some(NamedGroup::secp256r1), "or each login costs a round trip more");
    assert_ne!(first(Engine::Mysql), Some(NamedGroup::secp256r1), "its servers take the others too");
}
