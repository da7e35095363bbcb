//! Which bundles are taken and which are refused, whatever the place: here a file.

use super::*;

struct Shelf {
    home: Home,
    config: SourceConfig,
}

impl Shelf {
    fn new() -> Self {
        let home = Home::new();
        let config = home.config(home.path().join("bundle.tar.gz").to_str().unwrap());
        Self { home, config }
    }

    fn put(&self, archive: &[u8]) {
        let path = self.home.path().join("bundle.tar.gz");
        let beside = path.with_extension("new");
        std::fs::write(&beside, archive).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn remove(&self) {
        std::fs::remove_file(self.home.path().join("bundle.tar.gz")).unwrap();
    }
}

#[tokio::test]
async fn an_older_signed_version_is_refused_and_told_once() {
    let shelf = Shelf::new();
    shelf.put(&draft(5).signed());
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    assert_eq!(told.take(), [Event::Live(5, "source")]);
    shelf.put(&draft(4).signed());
    for _ in 0..3 {
        watch.look().await.unwrap();
        shelf.home.pass(60_000);
    }
    assert_eq!(told.take(), [refused("bundle_version_lower", Some(4))]);
    shelf.put(&draft(5).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(5, "source")], "what was live is live again");
    shelf.put(&draft(6).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(6, "source")]);
}

#[tokio::test]
async fn one_version_has_one_content_also_after_a_restart() {
    let shelf = Shelf::new();
    shelf.put(&draft(5).signed());
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    shelf.put(&draft(5).ruling("allow if false").signed());
    watch.look().await.unwrap();
    let same = refused("bundle_version_same", Some(5));
    assert_eq!(told.take(), [Event::Live(5, "source"), same.clone()]);
    assert!(told.message().contains("higher"), "{}", told.message());
    let (_, told) = shelf.home.started(&shelf.config).await;
    assert_eq!(told.take(), [same, Event::Live(5, "last_good")]);
}

#[tokio::test]
async fn the_same_content_is_taken_again_with_a_newer_signature_and_not_with_an_older_one() {
    let shelf = Shelf::new();
    shelf.put(&draft(5).signed());
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    shelf.home.pass(60_000);
    shelf.put(&draft(5).issued(T0_MS + 60_000).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(5, "source"), Event::Live(5, "source")]);
    shelf.put(&draft(5).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [refused("bundle_statement_older", Some(5))]);
}

#[tokio::test]
async fn an_unsigned_folder_may_change_without_a_new_version() {
    let home = Home::new();
    let folder = home.path().join("bundle");
    let write = |rules: &str| {
        for (name, bytes) in draft(1).ruling(rules).files().iter() {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    };
    write("allow if true");
    let mut config = home.config(folder.to_str().unwrap());
    config.insecure_dev = true;
    config.trust_keys.clear();
    let (mut watch, told) = home.started(&config).await;
    write("allow if 1 == 2");
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source"), Event::Live(1, "source")]);
}

#[tokio::test]
async fn the_floor_is_the_highest_of_what_is_configured_kept_and_shared() {
    let shelf = Shelf::new();
    shelf.put(&draft(5).signed());
    let configured = SourceConfig { min_version: 6, ..shelf.config.clone() };
    let (_, told) = shelf.home.started(&configured).await;
    let lower = refused("bundle_version_lower", Some(5));
    assert_eq!(told.take(), std::slice::from_ref(&lower));

    let (mut watch, told) = shelf.home.watch(&shelf.config);
    told.floor.store(6, Ordering::SeqCst);
    watch.start().await.unwrap();
    assert_eq!(told.take(), [lower], "others have seen version 6");

    let (_, told) = shelf.home.started(&shelf.config).await;
    assert_eq!(told.take(), [Event::Live(5, "source")]);
    // The kept copy goes the same way.
    shelf.remove();
    let (mut watch, told) = shelf.home.watch(&shelf.config);
    told.floor.store(6, Ordering::SeqCst);
    watch.start().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_unreadable")]);
}

#[tokio::test]
async fn what_is_not_yet_valid_is_taken_when_its_time_has_come() {
    let shelf = Shelf::new();
    let late = r#""not_before":"2027-01-15T08:01:00Z""#;
    shelf.put(&draft(1).with(late).signed());
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    for _ in 0..5 {
        shelf.home.pass(11_000);
        watch.look().await.unwrap();
    }
    assert_eq!(told.take(), [refused("bundle_not_yet_valid", None)]);
    shelf.home.pass(11_000);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source")]);
}

#[tokio::test]
async fn expired_and_unsigned_bundles_are_refused_and_the_old_one_stays() {
    let shelf = Shelf::new();
    shelf.put(&draft(1).signed());
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    shelf.put(&draft(2).unsigned());
    watch.look().await.unwrap();
    shelf.put(&draft(2).with(r#""expires":"2026-01-01T00:00:00Z""#).signed());
    watch.look().await.unwrap();
    shelf.put(&draft(2).ruling("allow if {").signed());
    watch.look().await.unwrap();
    assert_eq!(
        told.take(),
        [
            Event::Live(1, "source"),
            refused("bundle_unsigned", None),
            refused("bundle_expired", None),
            refused("bundle_invalid", Some(2)),
        ]
    );
}

#[tokio::test]
async fn a_kept_copy_that_was_changed_is_not_live() {
    let shelf = Shelf::new();
    shelf.put(&draft(1).signed());
    shelf.home.started(&shelf.config).await;
    shelf.remove();
    let kept = shelf.home.path().join("state/last-good.tar.gz");
    let (_, told) = shelf.home.started(&shelf.config).await;
    assert_eq!(told.take(), [unusable("bundle_unreadable"), Event::Live(1, "last_good")]);
    std::fs::write(&kept, draft(1).ruling("allow if 1 == 1").unsigned()).unwrap();
    let (_, told) = shelf.home.started(&shelf.config).await;
    assert_eq!(told.take(), [unusable("bundle_unreadable")]);
}

#[tokio::test]
async fn a_file_that_comes_late_is_taken_when_it_comes() {
    let shelf = Shelf::new();
    let (mut watch, told) = shelf.home.started(&shelf.config).await;
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_unreadable")]);
    shelf.put(&draft(1).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source")]);
}
