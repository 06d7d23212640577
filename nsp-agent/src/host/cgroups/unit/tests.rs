use rstest::rstest;

use super::*;

/// A tree of these paths; the id of each is its position plus one hundred.
fn tree(paths: &[&str]) -> Tree {
    let cgroup = |(position, path): (usize, &&str)| Cgroup {
        path: (*path).into(),
        id: position as u64 + 100,
    };
    Tree::new(paths.iter().enumerate().map(cgroup).collect())
}

fn resolve(tree: &Tree, pattern: &str) -> (Vec<String>, Option<String>) {
    let UnitMatches { matches, stable_ancestor } =
        tree.resolve_unit(&Pattern::new(pattern).unwrap());
    let units = matches.into_iter().map(|it| it.unit.unwrap()).collect();
    (units, stable_ancestor.map(|id| tree.path_of(id).unwrap().into()))
}

const HOST: &[&str] = &[
    "/",
    "/init.scope",
    "/system.slice",
    "/system.slice/nginx.service",
    "/system.slice/nginx.service/worker",
    "/system.slice/_cpu.service",
    "/system.slice/system-postgresql.slice",
    "/system.slice/system-postgresql.slice/postgresql@15-main.service",
    "/system.slice/system-postgresql.slice/postgresql@16-main.service",
    "/system.slice/system-foo\\x2dbar.slice",
    "/system.slice/system-foo\\x2dbar.slice/foo-bar@1.service",
    "/web.slice",
    "/web.slice/shop.service",
    "/user.slice",
    "/user.slice/user-1000.slice",
    "/user.slice/user-1000.slice/user@1000.service",
    "/user.slice/user-1000.slice/user@1000.service/app.slice",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
    "/system.slice/docker-0123.scope",
    "/system.slice/docker-0123.scope/system.slice",
    "/system.slice/docker-0123.scope/system.slice/postgresql@9-main.service",
];

#[rstest]
#[case::exact("nginx.service", &["nginx.service"], None)]
#[case::escaped_name("cpu.service", &["cpu.service"], None)]
#[case::template("postgresql@*.service", &["postgresql@15-main.service", "postgresql@16-main.service"],
    Some("/system.slice/system-postgresql.slice"))]
#[case::one_instance("postgresql@16-main.service", &["postgresql@16-main.service"], None)]
#[case::template_with_a_dash("foo-bar@*.service", &["foo-bar@1.service"],
    Some("/system.slice/system-foo\\x2dbar.slice"))]
#[case::slice_of_its_own("shop.service", &["shop.service"], Some("/web.slice"))]
#[case::slice("web.slice", &["web.slice"], None)]
#[case::scope("docker-*.scope", &["docker-0123.scope"], None)]
#[case::nothing("apache2.service", &[], None)]
fn units_are_found(
    #[case] pattern: &str,
    #[case] units: &[&str],
    #[case] stable_ancestor: Option<&str>,
) {
    let (found, ancestor) = resolve(&tree(HOST), pattern);
    assert_eq!(found, units);
    assert_eq!(ancestor.as_deref(), stable_ancestor);
}

#[test]
fn a_user_or_a_container_cannot_take_the_name_of_a_unit() {
    let tree = tree(HOST);
    let matches = tree.resolve_unit(&Pattern::new("nginx.service").unwrap()).matches;
    let paths: Vec<&str> = matches.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/system.slice/nginx.service"]);
}

#[test]
fn the_slice_of_a_template_is_there_before_its_instances() {
    let tree = tree(&["/", "/system.slice", "/system.slice/system-postgresql.slice"]);
    let (units, ancestor) = resolve(&tree, "postgresql@*.service");
    assert_eq!(units, [] as [&str; 0]);
    assert_eq!(ancestor.as_deref(), Some("/system.slice/system-postgresql.slice"));
}

#[test]
fn a_slice_with_a_stranger_in_it_is_not_stable() {
    let tree = tree(&["/", "/web.slice", "/web.slice/cron.service", "/web.slice/shop.service"]);
    assert_eq!(resolve(&tree, "shop.service"), (vec!["shop.service".into()], None));
    let both = resolve(&tree, "[cs]*.service").1;
    assert_eq!(both.as_deref(), Some("/web.slice"));
}

#[test]
fn a_cgroup_that_is_no_unit_is_a_stranger_too() {
    let tree = tree(&["/", "/web.slice", "/web.slice/by-hand", "/web.slice/shop.service"]);
    assert_eq!(resolve(&tree, "shop.service").1, None);
}

#[test]
fn units_of_two_slices_have_no_stable_ancestor() {
    let tree = tree(&["/", "/a.slice", "/a.slice/x@1.service", "/b.slice", "/b.slice/x@2.service"]);
    assert_eq!(resolve(&tree, "x@*.service").1, None);
}

#[rstest]
#[case::root("/", None)]
#[case::slice("/system.slice", Some("system.slice"))]
#[case::service("/system.slice/nginx.service", Some("nginx.service"))]
#[case::inside("/system.slice/nginx.service/worker", Some("nginx.service"))]
#[case::instance("/system.slice/system-x.slice/x@1.service", Some("x@1.service"))]
#[case::init("/init.scope", Some("init.scope"))]
#[case::user("/user.slice/user-1.slice/user@1.service/app.slice/a.service", Some("user@1.service"))]
#[case::not_systemd("/mygroup/nginx.service", None)]
#[case::escaped("/system.slice/_cpu.service", Some("cpu.service"))]
fn the_unit_of_a_cgroup(#[case] path: &str, #[case] expected: Option<&str>) {
    assert_eq!(unit_of(path), expected);
}

#[test]
fn a_path_finds_its_cgroup_and_unit() {
    let found = tree(HOST).resolve_path("/system.slice/nginx.service/worker").unwrap();
    assert_eq!(found.unit.as_deref(), Some("nginx.service"));
    assert_eq!(tree(HOST).resolve_path("/nginx.service"), None);
}
