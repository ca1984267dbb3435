//! The statements of a transaction that writes, by kind of write.
//!
//! Chosen by what is right first and by measurement second. What the measurements say: a bulk INSERT is several
//! times faster than anything else; a statement in a loop costs by itself; a parameter is copied each time it is named,
//! so that lists of rows must not be named inside of loops or of WHERE, and what is needed there is bound again, small.

use crate::surreal::class::HELD_BACK;
use crate::surreal::record::KEPT_TABLE;

/// A record passes the fence of a put unless it carries a whole stamp of this version or a later one. What is no
/// stamp to [`crate::surreal::record::stamp_of`] is none here: it must not lock a key for ever.
const OLDER: &str = "!(type::is_int(_lockstep.v) AND type::is_uuid(_lockstep.op) \
     AND _lockstep.v >= $w.v AND _lockstep.v < 9007199254740992)";

/// The same for a delete, which takes its own version with it.
const NOT_NEWER: &str = "!(type::is_int(_lockstep.v) AND type::is_uuid(_lockstep.op) \
     AND _lockstep.v > $w.v AND _lockstep.v < 9007199254740992)";

/// Fails if one of the records is there, which proves that it created all of them.
pub(super) const CREATE_ROWS: &str = "INSERT $create_rows RETURN NONE;";

/// The same for edges.
pub(super) const CREATE_EDGES: &str = "INSERT RELATION $create_edges RETURN NONE;";

/// Records that are there are updated behind the fence, the others are inserted in bulk. `INSERT IGNORE` would be
/// simpler, but it also swallows what a unique index refuses.
pub(super) fn puts() -> String {
    format!(
        "LET $there = SELECT VALUE id FROM $put_ids;
        IF array::len($there) > 0 {{
            FOR $w IN $puts {{ UPDATE $w.id CONTENT $w.c WHERE {OLDER} RETURN NONE; }};
        }};
        IF array::len($there) < array::len($put_ids) {{
            INSERT $puts[WHERE id NOT IN $there].c RETURN NONE;
        }};"
    )
}

/// As for other records; and an edge whose ends are to be others is removed first. `in` and `out` of a record never
/// change, and an UPDATE that tries is ignored in silence.
pub(super) fn edges() -> String {
    format!(
        "LET $turned = SELECT VALUE id FROM $edge_ids WHERE [id, in, out] NOT IN $edge_ends;
        IF array::len($turned) > 0 {{
            FOR $w IN $edges {{ IF $w.id IN $turned {{ DELETE $w.id WHERE {OLDER} RETURN NONE; }} }};
        }};
        LET $there = SELECT VALUE id FROM $edge_ids;
        IF array::len($there) > 0 {{
            FOR $w IN $edges {{ UPDATE $w.id CONTENT $w.c WHERE {OLDER} RETURN NONE; }};
        }};
        IF array::len($there) < array::len($edge_ids) {{
            INSERT RELATION $edges[WHERE id NOT IN $there].c RETURN NONE;
        }};"
    )
}

/// Kept vectors of records that this transaction has created. A row may have been left by somebody.
pub(super) fn kept_of_created() -> String {
    format!("INSERT INTO {KEPT_TABLE} $kept_created ON DUPLICATE KEY UPDATE v = $input.v, b = $input.b RETURN NONE;")
}

/// Kept vectors of other puts: only of those that stand in their record now.
pub(super) fn kept_of_put() -> String {
    format!(
        "LET $stand = SELECT VALUE id FROM $kept_ids WHERE _lockstep.v IN $kept_versions;
        IF array::len($stand) = array::len($kept_ids) {{
            INSERT INTO {KEPT_TABLE} $kept ON DUPLICATE KEY UPDATE v = $input.v, b = $input.b RETURN NONE;
        }} ELSE {{
            LET $stand = $stand.map(|$r| type::record('{KEPT_TABLE}', [record::tb($r), record::id($r)]));
            INSERT INTO {KEPT_TABLE} $kept[WHERE id IN $stand]
                ON DUPLICATE KEY UPDATE v = $input.v, b = $input.b RETURN NONE;
        }};"
    )
}

/// Puts without vectors: the rows go of those that stand in their record now.
pub(super) fn unkept() -> String {
    format!(
        "LET $stand = SELECT VALUE id FROM $unkept_ids WHERE _lockstep.v IN $unkept_versions;
        LET $rows = $stand.map(|$r| type::record('{KEPT_TABLE}', [record::tb($r), record::id($r)]));
        LET $rows = SELECT VALUE id FROM $rows;
        DELETE $rows RETURN NONE;"
    )
}

/// Records, and the kept vectors of those that are gone and of the edges that went with them. Where the fence held, the
/// edges have stayed, too.
pub(super) fn deletes() -> String {
    format!(
        "LET $had = SELECT id, <->? AS edges FROM $delete_ids;
        FOR $w IN $deletes {{ DELETE $w.id WHERE {NOT_NEWER} RETURN NONE; }};
        LET $left = SELECT VALUE id FROM $delete_ids;
        LET $gone = array::concat($delete_ids, array::flatten($had[WHERE id NOT IN $left].edges));
        LET $rows = $gone.map(|$r| type::record('{KEPT_TABLE}', [record::tb($r), record::id($r)]));
        LET $rows = SELECT VALUE id FROM $rows;
        LET $stay = $left.map(|$r| type::record('{KEPT_TABLE}', [record::tb($r), record::id($r)]));
        DELETE array::complement($rows, $stay) RETURN NONE;"
    )
}

/// Every edge in `edge` between pairs of records, and their kept vectors. `rows` names the parameter.
pub(super) fn between(edge: &str, rows: &str) -> String {
    format!(
        "FOR $w IN ${rows} {{
            LET $edges = SELECT VALUE id FROM $w.id->`{edge}` WHERE out = $w.to AND {NOT_NEWER};
            DELETE $edges RETURN NONE;
            DELETE $edges.map(|$r| type::record('{KEPT_TABLE}', [record::tb($r), record::id($r)])) RETURN NONE;
        }};"
    )
}

/// Which of those edges are left, a list for each pair.
pub(super) fn left_between(edge: &str, rows: &str) -> String {
    format!("${rows}.map(|$w| (SELECT VALUE id FROM $w.id->`{edge}` WHERE out = $w.to));")
}

/// Fails if one of the puts of a group does not stand in its record.
pub(super) fn group_puts() -> String {
    format!(
        "LET $stand = SELECT VALUE [id, _lockstep.op] FROM $group_ids;
        LET $lost = array::complement($group_puts, $stand);
        IF array::len($lost) > 0 {{
            THROW '{HELD_BACK}' + <string>$group_put_places[array::find_index($group_puts, $lost[0])]
        }};"
    )
}

/// Fails if one of the deletes of a group has left its record.
pub(super) fn group_deletes() -> String {
    format!(
        "LET $stay = SELECT VALUE id FROM $group_deletes;
        IF array::len($stay) > 0 {{
            THROW '{HELD_BACK}' + <string>$group_delete_places[array::find_index($group_deletes, $stay[0])]
        }};"
    )
}

/// Fails if edges are left between one of the pairs of a group.
pub(super) fn group_between(edge: &str, rows: &str) -> String {
    format!(
        "FOR $w IN ${rows} {{
            IF array::len(SELECT VALUE id FROM $w.id->`{edge}` WHERE out = $w.to) > 0 {{
                THROW '{HELD_BACK}' + <string>$w.p
            }}
        }};"
    )
}

/// What every transaction ends with.
pub(super) const READ_BACK: &str = "SELECT id, _lockstep FROM $ids;";
