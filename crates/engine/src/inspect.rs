//! Tables, as they are shown: what is configured, what is known, what the stores count.

use lockstep_model::{Shape, Stores, Table};
use lockstep_stores::Expected;

use crate::engine::Engine;
use crate::settings::Settings;

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableView {
    /// Its name.
    pub table: Table,
    /// Which stores hold it.
    pub stores: Stores,
    /// The collection of its points, if it has vectors.
    pub collection: Option<String>,
    /// Its vectors.
    pub vectors: Shape,
    /// Whether SurrealDB keeps the vectors, too.
    pub keep_vector: bool,
    /// What its points' ids are made of.
    pub point_id: String,
    /// It stands in the configuration.
    pub configured: bool,
    /// Why nothing is done on it, if nothing is.
    pub paused: Option<String>,
    /// How many records it has; none: not known.
    pub records: Option<u64>,
    /// How many points its collection has; none: not known.
    pub points: Option<u64>,
}

impl Engine {
    /// Every table that is known, by name.
    pub async fn tables(&self) -> Vec<TableView> {
        let configured = self.core.settings();
        let mut views: Vec<TableView> = {
            let shared = self.core.lock();
            let view = |(name, info): (&Table, &crate::tables::TableInfo)| TableView {
                table: name.clone(),
                stores: info.rules.stores,
                collection: shared.tables.collection(name).map(|collection| collection.name),
                vectors: info.shape.clone().unwrap_or_default(),
                keep_vector: info.rules.keep_vector,
                point_id: info.rules.point_id.to_string(),
                configured: configured.tables.contains_key(name),
                paused: info.standstill().map(str::to_owned),
                records: None,
                points: (!shared.tables.may_have_points(name)).then_some(0),
            };
            shared.tables.iter().map(view).collect()
        };
        for view in &mut views {
            view.records = match view.stores.has_surreal() {
                true => self.core.parts.documents.count(&view.table).await.ok(),
                false => Some(0),
            };
            view.points = match &view.collection {
                None => view.points,
                Some(collection) => match self.core.parts.vectors.count(collection).await {
                    Ok(count) => Some(count),
                    // It has no collection yet.
                    Err(error) if error.is_no_collection() => Some(0),
                    Err(_) => None,
                },
            };
        }
        views
    }
}

/// What the settings expect of the stores.
#[must_use]
pub fn expected(settings: &Settings) -> Vec<Expected> {
    let expected = |(table, rules): (&Table, &lockstep_model::TableRules)| Expected {
        table: table.clone(),
        collection: rules.collection_for(table),
        shape: rules.vectors.clone(),
        payload: Option::<Vec<String>>::from(rules.payload.clone()).unwrap_or_default(),
        stores: rules.stores,
        may_create: settings.auto_create || (settings.embedded && rules.vectors.is_some()),
        hashed_ids: rules.point_id == lockstep_model::PointIdPolicy::Hashed,
    };
    settings.tables.iter().map(expected).collect()
}
