//! A small plan with every kind of edge, drawn in every way.

use std::sync::Arc;

use super::*;
use crate::terminal::Paint;
use crate::words::samples::web;

const PLAN: &str = include_str!("golden/small.toml");

fn image(plan: &str) -> Image {
    let reading = verger_plan::read_bytes("x.toml", plan.as_bytes(), &verger_plan::NoFiles);
    let plan = reading.plan.unwrap_or_else(|| panic!("{:?}", reading.complaints));
    Image::verify(Arc::new(verger_plan::compile(&plan).unwrap())).unwrap()
}

#[test]
fn a_small_plan_as_text() {
    assert_eq!(Graph::of(&image(PLAN)).text(Paint::PLAIN), include_str!("golden/small.txt"));
}

#[test]
fn a_small_plan_in_dot() {
    let dot = Graph::of(&image(PLAN)).dot();
    sound_dot(&dot);
    assert_eq!(dot, include_str!("golden/small.dot"));
}

#[test]
fn a_small_plan_as_svg() {
    let svg = Graph::of(&image(PLAN)).svg();
    sound_xml(&svg);
    assert_eq!(svg, include_str!("golden/small.svg"));
    assert_eq!(svg, Graph::of(&image(PLAN)).svg());
}

#[test]
fn of_a_daemon_the_active_targets_are_drawn_with_what_their_groups_are_about() {
    let live = || {
        let active = [("", "drive", GroupPhase::Complete), ("arm", "Off", GroupPhase::Stopping)];
        Graph::of(&image(PLAN)).with_targets(active.into_iter())
    };
    let expected = "TARGET   ROLE               ACTIVE    SERVICES\n\
                    Off                         -         -\n\
                    drive    initial            complete  camera\n\
                    arm/Off                     stopping  -\n\
                    arm/on   initial, fallback  -         motor\n";
    assert!(live().text(Paint::PLAIN).ends_with(expected), "{}", live().text(Paint::PLAIN));
    let dot = live().dot();
    sound_dot(&dot);
    assert!(dot.contains("label=\"group arm\\narm/Off: stopping\";"), "{dot}");
    let svg = live().svg();
    sound_xml(&svg);
    assert!(svg.contains(">drive (initial, active: complete): camera</text>"), "{svg}");
    assert!(svg.contains(">arm/Off (active: stopping):</text>"), "{svg}");
    let phases: Vec<Value> =
        live().as_json()["targets"].as_array().unwrap().iter().map(|it| it["phase"].clone()).collect();
    assert_eq!(phases, [Value::Null, json!("complete"), json!("stopping"), Value::Null]);
}

#[test]
fn who_is_not_there_of_a_complete_target_is_said_in_all_forms() {
    let live = |camera, phase| {
        let services = [Service { name: "camera".to_owned(), ..web(camera) }];
        Graph::of(&image(PLAN)).with_targets([("", "drive", phase)].into_iter()).with_phases(&services)
    };
    let lost = live(PhaseKind::Down, GroupPhase::Complete);
    let text = lost.text(Paint::PLAIN);
    assert!(text.contains("drive    initial            complete, without camera  camera\n"), "{text}");
    let dot = lost.dot();
    sound_dot(&dot);
    assert!(dot.contains("label=\"targets\\ndrive: complete, without camera\";"), "{dot}");
    let svg = lost.svg();
    sound_xml(&svg);
    assert!(svg.contains(">drive (initial, active: complete, without camera): camera</text>"), "{svg}");
    let lacks = |graph: &Graph| {
        graph.as_json()["targets"].as_array().unwrap().iter().find(|it| it["name"] == "drive").unwrap()["lacks"].clone()
    };
    assert_eq!(lacks(&lost), json!(["camera"]));
    for (camera, phase) in [
        (PhaseKind::Running, GroupPhase::Complete),
        (PhaseKind::Done, GroupPhase::Complete),
        (PhaseKind::Starting, GroupPhase::Starting),
    ] {
        assert_eq!(lacks(&live(camera, phase)), Value::Null, "{camera} {phase}");
    }
}

#[test]
fn no_plan_is_too_small() {
    let graph = Graph::of(&image("[service.a]\ncommand = \"a\"\n"));
    sound_xml(&graph.svg());
    sound_dot(&graph.dot());
    assert_eq!(graph.text(Paint::PLAIN), "LAYER  SERVICE  EDGES\n0      a\n");
}

#[test]
fn an_edge_over_layers_bends_and_few_edges_cross() {
    // 0 and 1 are waited for by 2 and 3 crosswise: the second layer is turned.
    let layers = Layers::of(4, &[(2, 1), (3, 0)]);
    assert_eq!(layers.rows, [vec![0, 1], vec![3, 2]]);
    let layers = Layers::of(3, &[(1, 0), (2, 1), (2, 0)]);
    assert_eq!(layers.ways[2], [2, 3, 0]);
    assert_eq!(layers.rows[1].len(), 2);
}

#[test]
fn labels_lie_apart_and_inside() {
    let mut plan = String::from("[service.a]\ncommand = \"a\"\n");
    for name in ["b", "c", "d", "e"] {
        plan +=
            &format!("[service.{name}]\ncommand = \"x\"\nwants = [{{ service = \"a\", condition = \"started\" }}]\n");
    }
    let svg = Graph::of(&image(&plan)).svg();
    let number = |line: &str, key: &str| -> usize {
        let (_, rest) = line.split_once(&format!(" {key}=\"")).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let width = number(&svg, "width");
    let labels = svg.lines().filter(|line| line.contains("font-size=\"10\""));
    let mut places: Vec<(usize, usize)> = labels.map(|line| (number(line, "y"), number(line, "x"))).collect();
    places.sort_unstable();
    let half = "wants (started)".len() * 3;
    assert_eq!(places.len(), 4);
    assert!(places.iter().all(|(_, x)| (half..=width - half).contains(x)), "{svg}");
    assert!(places.windows(2).all(|pair| pair[0].0 + 12 <= pair[1].0), "{svg}");
    // Below who is waited for, above who waits.
    assert!(places.iter().all(|(y, _)| (24 + 30 + 12..).contains(y)), "{svg}");
}

#[test]
fn what_xml_may_not_hold_is_escaped() {
    assert_eq!(escaped("<a & \"b\">\u{1}"), "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}");
}

/// Every statement is one that DOT knows, strings end, and braces match.
fn sound_dot(dot: &str) {
    let mut depth = 0;
    for line in dot.lines().map(str::trim) {
        // Outside of strings: names, and what DOT has between them.
        let (mut inside, mut skip, mut bare) = (false, false, String::new());
        for c in line.chars() {
            match c {
                _ if skip => skip = false,
                '\\' if inside => skip = true,
                '"' => inside = !inside,
                c if !inside => bare.push(c),
                _ => {}
            }
        }
        assert!(!inside, "{line}");
        assert!(bare.chars().all(|c| c.is_ascii_alphanumeric() || " _-><[]=,;{}".contains(c)), "{line}");
        depth += bare.matches('{').count();
        depth -= bare.matches('}').count();
        assert!(bare.ends_with(['{', '}', ';']), "{line}");
    }
    assert_eq!(depth, 0);
}

/// Tags nest, and `&` and `<` stand only where they may.
pub(crate) fn sound_xml(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        let end = tag.find('>').unwrap();
        let (tag, after) = (&tag[1..end], &tag[end + 1..]);
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        for text in [before, tag] {
            assert!(
                text.split('&')
                    .skip(1)
                    .all(|it| ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| it.starts_with(entity))),
                "{text}"
            );
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
        rest = after;
    }
    assert!(open.is_empty(), "{open:?}");
}
