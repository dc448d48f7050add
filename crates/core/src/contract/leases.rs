//! The contract of [`LeaseStore`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use std::time::Duration;

use crate::ports::nodes::{Fence, Lease, LeaseStore, NodeId};

/// Long enough that no test outlasts it.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// The contract of [`LeaseStore`], on an empty store; `pass` lets time pass
/// by the store's clock.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn lease_store(store: &dyn LeaseStore, pass: impl AsyncFn(Duration)) {
    one_node_has_it_until_it_gives_it_back(store).await;
    one_that_ran_out_is_anybodys(store, &pass).await;
    renewing_keeps_the_fence(store, &pass).await;
    a_note_stays_for_the_next_holder(store).await;
    a_former_holder_can_do_nothing(store, &pass).await;
    fences_are_never_used_twice(store).await;
    leases_are_listed_by_prefix_in_order(store).await;
    its_clock_moves(store, &pass).await;
}

fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

async fn take(store: &dyn LeaseStore, name: &str, who: &str, ttl: Duration) -> Option<Fence> {
    store.acquire(name, &node(who), ttl).await.unwrap()
}

async fn one(store: &dyn LeaseStore, name: &str) -> Option<Lease> {
    let mut found = store.list(name).await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

async fn one_node_has_it_until_it_gives_it_back(store: &dyn LeaseStore) {
    let first = take(store, "given", "a", LONG).await.unwrap();
    assert_eq!(take(store, "given", "b", LONG).await, None);
    let lease = one(store, "given").await.unwrap();
    assert_eq!((lease.holder, lease.fence), (Some(node("a")), first));
    let left = lease.left.unwrap();
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    assert_eq!(lease.over, None);
    store.release("given", first).await.unwrap();
    let lease = one(store, "given").await.unwrap();
    assert_eq!((lease.holder, lease.left), (None, None));
    assert_eq!(lease.over, None, "it was given back");
    assert_eq!(lease.fence, first);
    assert!(take(store, "given", "b", LONG).await.unwrap() > first);
}

async fn one_that_ran_out_is_anybodys(store: &dyn LeaseStore, pass: &impl AsyncFn(Duration)) {
    let first = take(store, "ran-out", "a", SHORT).await.unwrap();
    pass(SHORT * 2).await;
    let lease = one(store, "ran-out").await.unwrap();
    assert_eq!((lease.holder, lease.left), (Some(node("a")), None));
    let over = lease.over.unwrap();
    assert!(over >= SHORT / 2 && over < LONG, "{over:?}");
    let second = take(store, "ran-out", "b", SHORT).await.unwrap();
    assert!(second > first);
    pass(SHORT * 2).await;
    let third = take(store, "ran-out", "b", SHORT).await.unwrap();
    assert!(third >= second);
}

async fn renewing_keeps_the_fence(store: &dyn LeaseStore, pass: &impl AsyncFn(Duration)) {
    let first = take(store, "renewed", "a", SHORT).await;
    assert_eq!(take(store, "renewed", "a", LONG).await, first);
    pass(SHORT * 2).await;
    assert_eq!(take(store, "renewed", "b", LONG).await, None);
    assert_eq!(take(store, "renewed", "a", LONG).await, first);
}

async fn a_note_stays_for_the_next_holder(store: &dyn LeaseStore) {
    let first = take(store, "noted", "a", LONG).await.unwrap();
    assert!(store.note("noted", first, "here").await.unwrap());
    assert!(store.note("noted", first, "there").await.unwrap());
    assert_eq!(take(store, "noted", "a", LONG).await, Some(first));
    store.release("noted", first).await.unwrap();
    take(store, "noted", "b", LONG).await.unwrap();
    let lease = one(store, "noted").await.unwrap();
    assert_eq!(lease.note.as_deref(), Some("there"));
}

async fn a_former_holder_can_do_nothing(store: &dyn LeaseStore, pass: &impl AsyncFn(Duration)) {
    let former = take(store, "former", "a", SHORT).await.unwrap();
    pass(SHORT * 2).await;
    let present = take(store, "former", "b", LONG).await.unwrap();
    assert!(!store.note("former", former, "mine").await.unwrap());
    store.release("former", former).await.unwrap();
    assert!(!store.remove("former", former).await.unwrap());
    let lease = one(store, "former").await.unwrap();
    assert_eq!((lease.holder, lease.fence), (Some(node("b")), present));
    assert_eq!(lease.note, None);
    assert!(!store.note("nothing", present, "late").await.unwrap());
}

async fn fences_are_never_used_twice(store: &dyn LeaseStore) {
    let first = take(store, "removed", "a", LONG).await.unwrap();
    assert!(store.remove("removed", first).await.unwrap());
    assert_eq!(one(store, "removed").await, None);
    let second = take(store, "removed", "a", LONG).await.unwrap();
    assert!(second > first);
    assert!(!store.remove("removed", first).await.unwrap());
}

async fn leases_are_listed_by_prefix_in_order(store: &dyn LeaseStore) {
    for name in ["list/b", "list/a_1", "list/aX1", "lisu/c", "LIST/d"] {
        take(store, name, "a", LONG).await.unwrap();
    }
    let names = async |prefix| -> Vec<String> {
        let found = store.list(prefix).await.unwrap();
        found.into_iter().map(|lease| lease.name).collect()
    };
    assert_eq!(names("list/").await, ["list/aX1", "list/a_1", "list/b"]);
    assert_eq!(names("list/a_").await, ["list/a_1"]);
    assert_eq!(names("list/%").await, Vec::<String>::new());
}

async fn its_clock_moves(store: &dyn LeaseStore, pass: &impl AsyncFn(Duration)) {
    let before = store.now().await.unwrap();
    pass(SHORT).await;
    assert!(store.now().await.unwrap().since(before) >= SHORT / 2);
}
