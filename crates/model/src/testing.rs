//! Strategies for the property tests.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::action::{Action, UnrelateTarget};
use crate::document::Document;
use crate::filter::{Bound, Filter, Scalar};
use crate::id::Version;
use crate::key::{Id, Key, Table};
use crate::op::{Operation, Precondition};
use crate::value::Value;
use crate::vector::{DEFAULT_VECTOR, Vector, Vectors};

/// The members of a JSON object.
pub(crate) fn object(json: Json) -> Map<String, Json> {
    let Json::Object(members) = json else { panic!("not an object: {json}") };
    members
}

pub(crate) fn any_key() -> impl Strategy<Value = Key> {
    ("[a-z]{1,6}", prop_oneof!["[0-9]{1,20}", "[a-z:/ é]{1,12}"])
        .prop_map(|(table, id)| Key::new(Table::new(&table).unwrap(), Id::parse(&id).unwrap()))
}

fn any_finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |float| float.is_finite())
}

/// A value that callers can send.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any_finite().prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Value::Datetime { secs, nanos }),
        (-60_000_000_000..250_000_000_000_i64, 0..1_000_000_000_u32)
            .prop_map(|(secs, nanos)| Value::Datetime { secs, nanos }),
        any_key().prop_map(Value::Record),
        any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))),
        "-?[0-9]{1,14}(\\.[0-9]{1,14})?".prop_map(|text| Value::decimal(&text).unwrap()),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Value::Duration { secs, nanos }),
        any::<Vec<u8>>().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map(any_name(), inner, 0..6).prop_map(Value::Object),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,4}", "\\${1,3}[a-z]{0,8}", Just("$datetime".to_owned()), any::<String>()]
}

/// A document that callers can send.
pub(crate) fn any_document() -> impl Strategy<Value = Document> {
    proptest::collection::btree_map(any_name(), any_value(), 0..6).prop_map(|mut members| {
        for reserved in ["_lockstep", "id", "in", "out"] {
            members.remove(reserved);
        }
        Document(members)
    })
}

fn any_number() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |float| float.is_finite())
}

fn any_vector() -> impl Strategy<Value = Vector> {
    prop_oneof![
        proptest::collection::vec(any_number(), 1..20).prop_map(Vector::Dense),
        proptest::collection::btree_map(any::<u32>(), any_number(), 1..20).prop_map(|pairs| {
            let (indices, values) = pairs.into_iter().unzip();
            Vector::Sparse { indices, values }
        }),
        (1..5_u32, 1..5_usize).prop_flat_map(|(dim, rows)| {
            proptest::collection::vec(any_number(), usize::try_from(dim).unwrap() * rows)
                .prop_map(move |values| Vector::Multi { dim, values })
        }),
    ]
}

pub(crate) fn any_vectors() -> impl Strategy<Value = Vectors> {
    let name = prop_oneof![Just(DEFAULT_VECTOR.to_owned()), "[a-zé]{1,8}"];
    proptest::collection::btree_map(name, any_vector(), 0..4).prop_map(Vectors)
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        any::<i64>().prop_map(Scalar::Int),
        any_finite().prop_map(Scalar::Float),
        any::<String>().prop_map(Scalar::Text),
    ]
}

fn any_range() -> impl Strategy<Value = Filter> {
    let number = prop_oneof![any::<i64>().prop_map(Bound::Int), any_finite().prop_map(Bound::Float)].boxed();
    let datetime = (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Bound::Datetime { secs, nanos });
    let bounds =
        |bound: BoxedStrategy<Bound>| (bound.clone(), proptest::collection::vec(proptest::option::of(bound), 3));
    ("[a-z]{4,6}", prop_oneof![bounds(number), bounds(datetime.boxed())])
        .prop_map(|(field, (gt, rest))| Filter::Range { field, gt: Some(gt), gte: rest[0], lt: rest[1], lte: rest[2] })
}

pub(crate) fn any_filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        ("[a-z]{4,6}", any_scalar()).prop_map(|(field, scalar)| Filter::Eq(field, scalar)),
        ("[a-z]{4,6}", proptest::collection::vec(any_scalar(), 1..4))
            .prop_map(|(field, scalars)| Filter::AnyOf(field, scalars)),
        any_range(),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Filter::All),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

/// An action that may be a member of a group.
fn any_member() -> impl Strategy<Value = Action> {
    let table = || any_key().prop_map(|key| key.table);
    prop_oneof![
        (any_key(), any_document(), any_vectors()).prop_map(|(key, document, vectors)| Action::Put {
            key,
            document,
            vectors
        }),
        (any_key(), any_document(), any_vectors()).prop_map(|(key, document, vectors)| Action::Patch {
            key,
            document,
            vectors
        }),
        any_key().prop_map(|key| Action::Delete { key }),
        (any_key(), any_key(), any_key(), any::<bool>(), any_document(), any_vectors()).prop_map(
            |(key, from, to, derived, document, vectors)| {
                let key = if derived { Key::edge(&key.table, &from, &to) } else { key };
                Action::Relate { key, from, to, document, vectors }
            }
        ),
        any_key().prop_map(|key| Action::Unrelate(UnrelateTarget::Key(key))),
        (table(), any_key(), any_key()).prop_map(|(edge, from, to)| Action::Unrelate(UnrelateTarget::Endpoints {
            edge,
            from,
            to
        })),
    ]
}

pub(crate) fn any_operation() -> impl Strategy<Value = Operation> {
    let group = proptest::collection::vec(any_member(), 1..4).prop_map(|members| {
        let by_key: BTreeMap<String, Action> =
            members.into_iter().map(|member| (format!("{:?}", member.lanes()), member)).collect();
        Action::Atomic(by_key.into_values().collect())
    });
    let clear = (any_key(), proptest::option::of(any_filter()))
        .prop_map(|(key, filter)| Action::Clear { table: key.table, filter });
    let single = (any_member(), proptest::option::of(0..Version::LIMIT), any::<bool>()).prop_map(
        |(action, version, if_absent)| {
            let if_version = version.map(Version);
            let if_absent = if_absent && if_version.is_none();
            Operation { precondition: Precondition { if_version, if_absent }, ..Operation::plain(action) }
        },
    );
    let condition = (0_usize..3, 0..Version::LIMIT, any::<bool>());
    let group = (group, proptest::option::of(condition)).prop_map(|(action, condition)| {
        let condition = condition.filter(|(place, ..)| *place < action.members().len());
        let members = condition.map(|(place, version, absent)| {
            let if_version = (!absent).then_some(Version(version));
            (place, Precondition { if_version, if_absent: absent })
        });
        Operation { members: members.into_iter().collect(), ..Operation::plain(action) }
    });
    prop_oneof![6 => single, 2 => group, 1 => clear.prop_map(Operation::plain)]
}
