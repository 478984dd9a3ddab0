//! A layered layout: everything lies below what it waits for, and each layer is ordered so that few edges cross.
//!
//! Layers are longest paths; edges over several layers bend in each of them; the order within a layer is that of the
//! mean places of the neighbours, looked at downwards and upwards in turn.

/// More bends than this are not made: edges over several layers are straight then, and the order cares less about them.
const BENDS_MAX: usize = 20_000;
/// So often the order of all layers is mended, down and up.
const SWEEPS: usize = 6;

/// Where everything lies.
pub(crate) struct Layers {
    /// The layer of each node, 0 the first.
    layer: Vec<usize>,
    /// What lies in each layer, in order: numbers below `nodes` are nodes, the others bends.
    pub(crate) rows: Vec<Vec<usize>>,
    /// For each edge that was given: its points, from who waits to what it waits for.
    pub(crate) ways: Vec<Vec<usize>>,
}

impl Layers {
    /// Lays out so many nodes, with edges from who waits to what it waits for. What waits in a circle lies in layer 0.
    pub(crate) fn of(nodes: usize, edges: &[(usize, usize)]) -> Layers {
        let mut layer = longest_paths(nodes, edges);
        let depth = layer.iter().max().map_or(0, |deepest| deepest + 1);
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); depth];
        for (node, at) in layer.iter().enumerate() {
            rows[*at].push(node);
        }
        let between = |from: usize, to: usize| (layer[to] + 1..layer[from]).rev();
        let bends: usize = edges.iter().map(|(from, to)| between(*from, *to).len()).sum();
        let mut ways = Vec::with_capacity(edges.len());
        let mut next = nodes;
        for (from, to) in edges {
            let mut way = vec![*from];
            if bends <= BENDS_MAX {
                for at in between(*from, *to) {
                    rows[at].push(next);
                    way.push(next);
                    next += 1;
                }
            }
            way.push(*to);
            ways.push(way);
        }
        order(&mut rows, &ways, next);
        layer.truncate(nodes);
        Layers { layer, rows, ways }
    }

    pub(crate) fn of_node(&self, node: usize) -> usize {
        self.layer.get(node).copied().unwrap_or(0)
    }

    /// The nodes of each layer, in order, without bends.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let nodes = self.layer.len();
        self.rows.iter().map(move |row| row.iter().copied().filter(|it| *it < nodes).collect())
    }
}

/// The layer of each node: one more than the deepest of what it waits for.
fn longest_paths(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0; nodes];
    let mut missing = vec![0_usize; nodes];
    let mut waiters = vec![Vec::new(); nodes];
    for (from, to) in edges {
        missing[*from] += 1;
        waiters[*to].push(*from);
    }
    let mut next: Vec<usize> = (0..nodes).filter(|node| missing[*node] == 0).collect();
    while let Some(node) = next.pop() {
        for waiter in &waiters[node] {
            layer[*waiter] = layer[*waiter].max(layer[node] + 1);
            missing[*waiter] -= 1;
            if missing[*waiter] == 0 {
                next.push(*waiter);
            }
        }
    }
    for (node, missing) in missing.iter().enumerate() {
        if *missing > 0 {
            layer[node] = 0;
        }
    }
    layer
}

/// Orders each layer by the mean places of the neighbours in the one before, then in the one after, and so on.
fn order(rows: &mut [Vec<usize>], ways: &[Vec<usize>], points: usize) {
    let mut above = vec![Vec::new(); points];
    let mut below = vec![Vec::new(); points];
    for pair in ways.iter().flat_map(|way| way.windows(2)) {
        above[pair[0]].push(pair[1]);
        below[pair[1]].push(pair[0]);
    }
    let mut place = vec![0.0_f64; points];
    let settle = |row: &[usize], place: &mut Vec<f64>| {
        for (at, point) in row.iter().enumerate() {
            // Rows of different lengths are centred on each other.
            place[*point] = at as f64 - (row.len() as f64 - 1.0) / 2.0;
        }
    };
    rows.iter().for_each(|row| settle(row, &mut place));
    for sweep in 0..SWEEPS {
        let downwards = sweep % 2 == 0;
        let neighbours = if downwards { &above } else { &below };
        let mut mend = |row: &mut Vec<usize>| {
            let mean = |point: usize| match neighbours[point].as_slice() {
                [] => place[point],
                these => these.iter().map(|it| place[*it]).sum::<f64>() / these.len() as f64,
            };
            let mut keyed: Vec<(f64, usize)> = row.iter().map(|point| (mean(*point), *point)).collect();
            // Stable: what is equal stays in order.
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = keyed.into_iter().map(|(_, point)| point).collect();
            settle(row, &mut place);
        };
        match downwards {
            true => rows.iter_mut().for_each(&mut mend),
            false => rows.iter_mut().rev().for_each(&mut mend),
        }
    }
}
