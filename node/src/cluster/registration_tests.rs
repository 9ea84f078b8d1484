use super::*;
use crate::{
    cluster::{probe::testing::Answers, sample::node},
    coordinator::Embedded,
};

const TTL: Duration = Duration::from_secs(10);

fn registration(
    records: &Arc<Embedded>,
    incarnation: &str,
    grpc: &str,
    probe: Answers,
) -> (Registration, watch::Receiver<Held>) {
    let record = NodeRecord {
        incarnation: incarnation.into(),
        grpc: grpc.into(),
        boot_id: "this".into(),
        ..node("a")
    };
    following(records, record, probe)
}

fn following(
    records: &Arc<Embedded>,
    record: NodeRecord,
    probe: Answers,
) -> (Registration, watch::Receiver<Held>) {
    let coordinator: Arc<dyn Coordinator> = Arc::clone(records) as _;
    Registration::new(
        coordinator,
        Keys::of("c"),
        "a",
        record,
        TTL,
        Arc::new(probe),
    )
}

async fn record(records: &Embedded) -> Option<Record> {
    records.get(&Keys::of("c").node("a")).await.unwrap()
}

async fn incarnation(records: &Embedded) -> Option<String> {
    let record = record(records).await?;
    Some(decode::<NodeRecord>(&record.value).unwrap().incarnation)
}

#[tokio::test(start_paused = true)]
async fn the_record_lives_as_long_as_it_is_kept() {
    let records = Arc::new(Embedded::new());
    let (first, held) = registration(&records, "1", "h:1", Answers::nobody());
    first.register().await.unwrap();
    assert_eq!(held.borrow().until, Some(Instant::now() + TTL));
    let kept = tokio::time::timeout(TTL * 5, first.keep()).await;
    assert!(kept.is_err());
    assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
    assert!(held.borrow().lasts(Instant::now()));
    sleep(TTL + Duration::from_secs(1)).await;
    assert_eq!(incarnation(&records).await, None);
    assert!(!held.borrow().lasts(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_followed_by_another_for_the_same_incarnation() {
    let records = Arc::new(Embedded::new());
    let (node, held) = registration(&records, "1", "h:1", Answers::nobody());
    node.register().await.unwrap();
    let lease = held.borrow().lease.unwrap();
    records.revoke(lease).await.unwrap();
    assert_eq!(incarnation(&records).await, None);
    assert!(tokio::time::timeout(TTL, node.keep()).await.is_err());
    assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
    assert_ne!(held.borrow().lease, Some(lease));
    node.deregister().await.unwrap();
    assert_eq!(incarnation(&records).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_process_of_the_same_name_that_answers_keeps_it() {
    let records = Arc::new(Embedded::new());
    let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
    first.register().await.unwrap();
    let (second, _) = registration(&records, "2", "h:2", Answers::node("c", "a", "1"));
    let error = second.register().await.unwrap_err().to_string();
    assert!(
        error.contains("node 'a' in cluster 'c'") && error.contains("h:1"),
        "{error}"
    );
    assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_certainly_dead_is_replaced_at_once() {
    let dead = [
        ("h:2", Answers::nobody()),
        ("h:2", Answers::node("c", "a", "3")),
        ("h:2", Answers::node("c", "b", "1")),
        ("h:2", Answers::node("d", "a", "1")),
        ("h:1", Answers::silent()),
    ];
    for (grpc, probe) in dead {
        let records = Arc::new(Embedded::new());
        let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
        first.register().await.unwrap();
        let began = Instant::now();
        let (second, _) = registration(&records, "2", grpc, probe);
        second.register().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(incarnation(&records).await.as_deref(), Some("2"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_address_says_proves_nothing_of_a_process_on_another_machine() {
    let boots = [("this", "that"), ("", ""), ("", "this"), ("this", "")];
    let answers = || [Answers::nobody(), Answers::node("c", "a", "2")];
    for (theirs, mine) in boots {
        for probe in answers() {
            let records = Arc::new(Embedded::new());
            let on = |boot_id: &str, incarnation: &str| NodeRecord {
                incarnation: incarnation.into(),
                grpc: "127.0.0.1:1".into(),
                boot_id: boot_id.into(),
                ..node("a")
            };
            let (first, _) = following(&records, on(theirs, "1"), Answers::nobody());
            first.register().await.unwrap();
            let began = Instant::now();
            let (second, _) = following(&records, on(mine, "2"), probe);
            tokio::time::timeout(TTL / 2, second.register())
                .await
                .unwrap_err();
            assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
            second.register().await.unwrap();
            assert!(began.elapsed() >= TTL && began.elapsed() < TTL * 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_name_was_taken_ends() {
    let records = Arc::new(Embedded::new());
    let (first, held) = registration(&records, "1", "h:1", Answers::nobody());
    first.register().await.unwrap();
    let until = held.borrow().until;
    let (second, _) = registration(&records, "2", "h:2", Answers::nobody());
    second.register().await.unwrap();
    let ended = tokio::time::timeout(TTL / 2, first.keep()).await.unwrap();
    assert!(matches!(ended, RegisterError::Taken { address, .. } if address == "h:2"));
    assert_eq!(held.borrow().until, until);
    first.deregister().await.unwrap();
    assert_eq!(incarnation(&records).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_not_registered_again() {
    let records = Arc::new(Embedded::new());
    let (node, held) = registration(&records, "1", "h:1", Answers::nobody());
    node.register().await.unwrap();
    let keeping = async {
        let ended = tokio::time::timeout(TTL, node.keep()).await.unwrap();
        assert!(matches!(ended, RegisterError::Leaving));
    };
    let leaving = async { node.deregister().await.unwrap() };
    tokio::join!(keeping, leaving);
    assert_eq!(incarnation(&records).await, None);
    // Nor by an answer that was under way when it left.
    let late = Held {
        lease: None,
        until: Some(Instant::now() + TTL),
    };
    assert!(matches!(node.hold(late), Err(RegisterError::Leaving)));
    assert!(matches!(node.write(0).await, Err(RegisterError::Leaving)));
    assert_eq!(*held.borrow(), Held::default());
    assert_eq!(incarnation(&records).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_answer_is_waited_for_until_its_lease_has_ended() {
    let records = Arc::new(Embedded::new());
    let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
    first.register().await.unwrap();
    let began = Instant::now();
    let (second, _) = registration(&records, "2", "h:2", Answers::silent());
    second.register().await.unwrap();
    assert!(began.elapsed() >= TTL && began.elapsed() < TTL * 2);
    // Unless it is kept alive.
    let (third, _) = registration(&records, "3", "h:3", Answers::silent());
    tokio::select! {
        _ = second.keep() => unreachable!("nobody took the name"),
        refused = third.register() => {
            assert!(refused.unwrap_err().to_string().contains("h:2"));
        }
    }
}
