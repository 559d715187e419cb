use super::*;
use crate::instance::tests::example;
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(100);

fn get(target: &str) -> Request<'_> {
    Request { method: Method::Get, target, token: None, token_life: None, forwarded: false }
}

fn put(life: Option<&str>) -> Request<'_> {
    Request { method: Method::Put, token_life: life, ..get("/latest/api/token") }
}

fn ask(request: &Request<'_>) -> Reply {
    respond(Some(&example()), &Tokens::new().unwrap(), NOW, request)
}

fn text(reply: Reply) -> String {
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn the_root_lists_versions_and_versions_lead_to_their_folder() {
    assert!(text(ask(&get("/"))).contains("2009-04-04\n"));
    for version in ["latest", "2009-04-04", "2021-03-23", "2031-01-01"] {
        let moved = ask(&get(&format!("/{version}")));
        assert_eq!((moved.status, moved.body.len()), (301, 0));
        assert_eq!(moved.location, Some(format!("/{version}/")));
        assert_eq!(text(ask(&get(&format!("/{version}/meta-data/mac")))), "02:00:01:00:00:05");
    }
    for unknown in ["/2009-04-03", "/newest", "/latest/x", "//", "latest", "/x/", "/openstack/x"] {
        let reply = ask(&get(unknown));
        assert_eq!((reply.status, reply.content_type), (404, "text/html"), "{unknown}");
        assert!(reply.body.starts_with(b"<?xml"));
    }
}

#[test]
fn an_unknown_requester_sees_versions_only() {
    let tokens = Tokens::new().unwrap();
    let status = |request| respond(None, &tokens, NOW, &request).status;
    assert_eq!(status(get("/")), 200);
    assert_eq!(status(get("/latest")), 301);
    for target in ["/latest/", "/latest/meta-data/", "/openstack", "/latest/user-data"] {
        assert_eq!(status(get(target)), 404, "{target}");
    }
    assert_eq!(status(put(Some("60"))), 404);
}

#[test]
fn user_data_are_bytes_and_documents_are_json() {
    for target in ["/latest/user-data", "/2009-04-04/user-data", "/openstack/latest/user_data"] {
        assert_eq!(ask(&get(target)).body, [0x1f, 0x8b, 0, 0xff, b'\n'], "{target}");
    }
    let reply = ask(&get("/openstack/2018-08-27/meta_data.json"));
    assert_eq!(reply.content_type, "application/json");
}

#[test]
fn a_token_wants_a_life_and_no_proxy() {
    for (life, status) in [
        (None, 400),
        (Some("0"), 400),
        (Some("21601"), 400),
        (Some("-1"), 400),
        (Some("soon"), 400),
        (Some("1"), 200),
        (Some("21600"), 200),
    ] {
        let reply = ask(&put(life));
        assert_eq!(reply.status, status, "{life:?}");
        assert_eq!(reply.token_life.is_some(), status == 200);
    }
    assert_eq!(ask(&Request { forwarded: true, ..put(Some("60")) }).status, 403);
    assert_eq!(ask(&Request { forwarded: true, ..get("/latest/meta-data/mac") }).status, 200);
}

#[test]
fn with_the_switch_on_only_a_live_token_opens_any_tree() {
    let tokens = Tokens::new().unwrap();
    let instance = Instance { token_required: true, ..example() };
    let at = |now, request: &Request<'_>| respond(Some(&instance), &tokens, now, request);
    let token = text(at(NOW, &put(Some("60"))));
    for target in ["/latest/", "/latest/meta-data/mac", "/openstack/latest/user_data", "/latest/x"]
    {
        let shown = |token| Request { token, ..get(target) };
        assert_eq!(at(NOW, &shown(None)).status, 401, "{target}");
        assert_eq!(at(NOW, &shown(Some("wrong"))).status, 401, "{target}");
        assert_ne!(at(NOW, &shown(Some(&token))).status, 401, "{target}");
        let later = NOW + Duration::from_secs(60);
        assert_eq!(at(later, &shown(Some(&token))).status, 401, "{target}");
    }
    assert_eq!(at(NOW, &get("/latest")).status, 301);
    let wrong = Request { token: Some("wrong"), ..get("/latest/meta-data/mac") };
    assert_eq!(ask(&wrong).status, 401, "also where none is required");
}

#[test]
fn nothing_can_be_changed() {
    for method in [Method::Put, Method::Other] {
        assert_eq!(ask(&Request { method, ..get("/latest/meta-data/mac") }).status, 405);
    }
    assert_eq!(ask(&Request { method: Method::Other, ..get("/latest/api/token") }).status, 405);
    assert_eq!(ask(&get("/latest/api/token")).status, 404);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_target_makes_it_panic(target in ".{0,80}", token in proptest::option::of(".{0,80}")) {
        let _ = ask(&Request { token: token.as_deref(), ..get(&target) });
    }

    #[test]
    fn no_path_below_the_trees_makes_it_panic(
        tree in prop::sample::select(vec!["/latest/", "/latest/meta-data/", "/openstack/latest/"]),
        rest in "[a-z0-9=%:/._?-]{0,60}",
    ) {
        let status = ask(&get(&format!("{tree}{rest}"))).status;
        prop_assert!([200, 404].contains(&status));
    }
}
