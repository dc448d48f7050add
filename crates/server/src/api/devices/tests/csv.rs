//! Many devices at once, as CSV.

use axum::http::Method;
use serde_json::json;

use super::super::parse_id;
use super::add;
use crate::api::testing::{Answer, Site};

async fn import(site: &Site, query: &str, csv: &str) -> Answer {
    let bearer = format!("Bearer {}", site.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "text/csv"),
    ];
    let path = format!("devices.csv{query}");
    site.send(Method::POST, &path, &headers, csv.to_owned())
        .await
}

#[tokio::test]
async fn an_import_is_all_or_nothing_and_its_export_reads_back() {
    let site = Site::new().await;
    add(&site, "old").await;
    let bad = "deviceId,sockets\nnew1,4\nold,4\nnew2,99\nnew1,1\nx/y,1\n";
    let refused = import(&site, "", bad).await;
    let problem = refused.expect_problem(422, "import-refused");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        [
            "/line 3/deviceId",
            "/line 4/sockets",
            "/line 5/deviceId",
            "/line 6/deviceId"
        ]
    );
    assert!(site.registry.by_id(&parse_id("new1").unwrap()).is_none());

    let good = "deviceId,name,sockets\nnew1,\"Desk, left\",4\nold,Shelf,2\n";
    let dry = import(&site, "?dryRun=true&onExisting=update", good)
        .await
        .expect(200);
    assert_eq!((&dry["written"], &dry["added"]), (&json!(false), &json!(1)));
    assert!(dry["rows"][0].get("credentials").is_none());
    let report = import(&site, "?onExisting=update", good).await.expect(200);
    assert_eq!(
        (&report["added"], &report["updated"]),
        (&json!(1), &json!(1))
    );
    let password = report["rows"][0]["credentials"]["password"]
        .as_str()
        .unwrap();
    let fine = site
        .registry
        .authenticate("new1", password.as_bytes(), None);
    fine.await.unwrap();
    let again = import(&site, "?onExisting=skip", good).await.expect(200);
    assert_eq!(again["unchanged"], 2);

    let export = site.get("devices.csv").await;
    assert!(
        export.text.contains("new1,\"Desk, left\",,4,\n"),
        "{}",
        export.text
    );
    let back = import(&site, "?onExisting=update", &export.text)
        .await
        .expect(200);
    assert_eq!(back["unchanged"], 2);
}

#[tokio::test]
async fn bad_files_are_refused() {
    let site = Site::new().await;
    import(&site, "", "").await.expect_invalid("header");
    import(&site, "", "deviceId\n").await.expect_invalid("body");
    import(&site, "", "deviceId,colour\na,red\n")
        .await
        .expect_invalid("header");
    import(&site, "?dryRun=maybe", "deviceId\na\n")
        .await
        .expect_invalid("dryRun");
    import(&site, "?onExisting=burn", "deviceId\na\n")
        .await
        .expect_invalid("onExisting");
    let json = site.post("devices.csv", json!({})).await;
    json.expect_problem(415, "unsupported-media-type");
    let huge = format!("deviceId,name\na,{}\n", "x".repeat(5 << 20));
    import(&site, "", &huge)
        .await
        .expect_problem(413, "body-too-large");
}

#[tokio::test]
async fn thousands_of_devices_come_in_at_once_with_their_credentials() {
    let site = Site::new().await;
    let rows: String = (0..5_000)
        .map(|n| format!("B-{}-strip{n},6\n", 101 + n % 9))
        .collect();
    let csv = format!("deviceId,sockets\n{rows}");
    let bearer = format!("Bearer {}", site.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "text/csv"),
        ("accept", "text/csv"),
    ];
    let answer = site.send(Method::POST, "devices.csv", &headers, csv).await;
    answer.expect(200);
    let lines: Vec<_> = answer.text.lines().collect();
    assert_eq!(
        (lines[0], lines.len()),
        ("deviceId,username,password", 5_001)
    );
    let parts: Vec<_> = lines[5_000].split(',').collect();
    let fine = site
        .registry
        .authenticate(parts[1], parts[2].as_bytes(), None);
    fine.await.unwrap();
}
