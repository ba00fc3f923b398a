//! What the tests of rendering share.

mod documents;
mod hostile;
mod limits;
mod names;
mod strict;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assets, Limits, Page, RenderError, Renderer, Settings};
use crate::problem::Problems;
use crate::row::{Columns, Included, Row, Rows, Value};
use crate::version::Version;

pub(super) fn settings() -> Settings {
    Settings { site_name: "Flash Shop".to_owned(), site_url: "https://shop.example".to_owned() }
}

pub(super) fn assets() -> Assets {
    [("/style.css", "body{}"), ("/img/a b&c.png", "png")]
        .map(|(path, body)| (path.to_owned(), Version::of(body.as_bytes())))
        .into()
}

pub(super) fn texts(templates: &[(&str, &str)]) -> BTreeMap<String, String> {
    templates.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

pub(super) fn renderer_within(templates: &[(&str, &str)], limits: Limits) -> Result<Renderer, Problems> {
    Renderer::new("pages", &texts(templates), &settings(), &assets(), limits)
}

pub(super) fn renderer(templates: &[(&str, &str)]) -> Renderer {
    renderer_within(templates, Limits::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn problems(templates: &[(&str, &str)]) -> String {
    match renderer_within(templates, Limits::default()) {
        Ok(_) => panic!("the templates were accepted: {templates:?}"),
        Err(problems) => problems.to_string(),
    }
}

/// Renders one template, called `t.html`, from [`product`].
pub(super) fn render(text: &str) -> Result<String, RenderError> {
    render_in(&[("t.html", text)], "t.html")
}

pub(super) fn render_in(templates: &[(&str, &str)], template: &str) -> Result<String, RenderError> {
    let bytes = renderer(templates).render(template, &product(), None)?;
    Ok(String::from_utf8(bytes).expect("templates write UTF-8"))
}

pub(super) fn columns(names: &[&str]) -> Columns {
    names.iter().map(|name| Arc::from(*name)).collect()
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(super) fn product() -> Row {
    let variant = columns(&["sku", "stock"]);
    let brand = columns(&["id", "name"]);
    let json = serde_json::json!({"z": [1, 2.5, null], "a": {"deep": true}, "list": ["x", "y"]});
    Row {
        columns: columns(&[
            "id",
            "slug",
            "name",
            "price_cents",
            "rating",
            "sold_out",
            "note",
            "blob",
            "data",
            "made_at",
            "empty",
        ]),
        values: vec![
            Value::Int(7),
            text("red-shoe"),
            text("Red <Shoe> & \"Co\" 'x'"),
            Value::Int(123_450),
            Value::Float(4.5),
            Value::Bool(false),
            Value::Null,
            Value::Bytes(b"foob".as_slice().into()),
            Value::Json(Arc::new(json)),
            text("2026-07-01 12:30:00"),
            text(""),
        ],
        includes: vec![
            Included {
                name: "variants".into(),
                rows: Rows::Many(Arc::new(
                    [("S", 3), ("M", 0), ("L", 12)]
                        .map(|(sku, stock)| Row {
                            columns: Arc::clone(&variant),
                            values: vec![text(sku), Value::Int(stock)],
                            includes: Vec::new(),
                        })
                        .into(),
                )),
            },
            Included {
                name: "brand".into(),
                rows: Rows::One(Some(Box::new(Row {
                    columns: brand,
                    values: vec![Value::Int(1), text("Acme")],
                    includes: Vec::new(),
                }))),
            },
            Included { name: "maker".into(), rows: Rows::One(None) },
            Included { name: "reviews".into(), rows: Rows::Many(Arc::default()) },
        ],
    }
}

pub(super) fn second_page() -> Page {
    Page {
        number: 2,
        count: 3,
        previous: Some("/list.html".to_owned()),
        next: Some("/list-3.html".to_owned()),
    }
}
