//! A database is found at the same local port every time, and a port that is taken is no riddle.

use std::net::{Ipv4Addr, TcpListener};

use model::Gateway;

use crate::world::{Person, World, view};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_holder_and_the_next_free_one_is_kept_from_then_on() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let taken = held.local_addr().expect("it listens").port();

    let refusal = ana.is_refused(&["connect", "billing-staging", "--port", &taken.to_string()], "port-in-use").await;
    assert!(refusal.contains(&format!("port {taken} of 127.0.0.1 is in use by ")), "{refusal}");
    assert!(refusal.contains(&format!("(process {})", std::process::id())), "this test holds it: {refusal}");
    let offered =
        refusal.split("`daypass connect billing-staging --port ").nth(1).and_then(|rest| rest.split('`').next());
    let offered: u16 = offered.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no offer in: {refusal}"));
    assert!(offered > taken, "the next one: {refusal}");

    ana.does(&["connect", "billing-staging", "--port", &offered.to_string()]).await;
    assert_eq!(port(&ana).await, offered);
    ana.does(&["quit"]).await;
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    assert_eq!(port(&ana).await, offered, "another agent, the same port");
}

async fn port(ana: &Person) -> u16 {
    ana.sees("it is connected", |snapshot| {
        let Gateway::Open { connection, .. } = &view(snapshot, "billing-staging").gateway else { return None };
        Some(connection.port)
    })
    .await
}
