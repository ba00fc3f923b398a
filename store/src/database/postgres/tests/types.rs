use super::*;

/// The value as JSON, or `!` and why there is none.
fn json(value: &Value) -> String {
    match value {
        Value::Unreadable(why) => format!("!{}", why.split(&[',', ':'][..]).next().unwrap()),
        value => serde_json::to_string(value).unwrap(),
    }
}

/// Every type with a form: an expression, and the JSON it becomes.
const TYPES: &[(&str, &str)] = &[
    ("NULL::int", "null"),
    ("NULL", "null"),
    ("'unknown'", r#""unknown""#),
    ("(-32768)::int2", "-32768"),
    ("2147483647::int4", "2147483647"),
    ("(-9223372036854775808)::int8", "-9223372036854775808"),
    ("4294967295::oid", "4294967295"),
    ("true", "true"),
    ("false", "false"),
    ("0.1::float4", "0.1"),
    ("16777216::float4", "16777216.0"),
    ("0.1::float8 + 0.2::float8", "0.30000000000000004"),
    ("1e300::float8", "1e+300"),
    ("5e-324::float8", "5e-324"),
    ("-0.0::float8", "0.0"),
    ("'NaN'::float8", "!it is NaN"),
    ("'-Infinity'::float4", "!it is -Infinity"),
    ("1.50::numeric", r#""1.50""#),
    ("'1e30'::numeric", r#""1000000000000000000000000000000""#),
    ("0.000::numeric(9,3)", r#""0.000""#),
    ("'NaN'::numeric", "!it is NaN"),
    ("'Infinity'::numeric", "!it is Infinity"),
    ("'a\"b\u{e4}'::text", "\"a\\\"b\u{e4}\""),
    ("'x'::varchar(9)", r#""x""#),
    ("'ab '::char(5)", r#""ab""#),
    ("'c'::\"char\"", r#""c""#),
    ("'n'::name", r#""n""#),
    ("'MiXed'::citext", r#""MiXed""#),
    ("'Top.Science'::ltree", r#""Top.Science""#),
    ("'a => 1'::hstore::text", r#""\"a\"=>\"1\"""#),
    ("'sad'::mood", r#""sad""#),
    ("5::positive", "5"),
    ("'2024-02-29'::birthday", r#""2024-02-29""#),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("'10.0.0.1/8'::inet", r#""10.0.0.1/8""#),
    ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
    ("'08:00:2b:01:02:03'::macaddr", r#""08:00:2b:01:02:03""#),
    ("'08:00:2b:01:02:03:04:05'::macaddr8", r#""08:00:2b:01:02:03:04:05""#),
    ("'<a>1</a>'::xml", r#""<a>1</a>""#),
    ("'fat:1 cat:2'::tsvector", r#""'cat':2 'fat':1""#),
    ("'fat & cat'::tsquery", r#""'fat' & 'cat'""#),
    ("B'101'::bit(3)", r#""101""#),
    ("B'10'::varbit", r#""10""#),
    ("12.5::money", r#""$12.50""#),
    ("'\\x00ff'::bytea", r#""AP8=""#),
    ("''::bytea", r#""""#),
    (r#"'{"b": 1.5, "a": [null, "x"]}'::json"#, r#"{"b":1.5,"a":[null,"x"]}"#),
    (r#"'{"b": 18446744073709551615, "a": {}}'::jsonb"#, r#"{"a":{},"b":18446744073709551615}"#),
    ("'null'::jsonb", "null"),
    ("'1e999'::json", "!its JSON cannot be read (number out of range at line 1 column 5)"),
    ("'$.a'::jsonpath", r#""$.\"a\"""#),
    ("'2024-02-29'::date", r#""2024-02-29""#),
    ("'0001-01-01'::date", r#""0001-01-01""#),
    ("'9999-12-31'::date", r#""9999-12-31""#),
    ("'10000-01-01'::date", "!its year is not within 1 to 9999"),
    ("'0044-03-15 BC'::date", "!its year is not within 1 to 9999"),
    ("'infinity'::date", "!it is infinite"),
    ("'12:00:00.5'::time", r#""12:00:00.5""#),
    ("'24:00'::time", r#""24:00:00""#),
    ("'12:00+05:30'::timetz", r#""12:00:00+05:30""#),
    ("'2024-02-29 12:00:00.5'::timestamp", r#""2024-02-29T12:00:00.5""#),
    ("'-infinity'::timestamp", "!it is infinite"),
    ("'0044-03-15 00:00 BC'::timestamp", "!its year is not within 1 to 9999"),
    ("'2024-02-29 23:30:00.123456-05'::timestamptz", r#""2024-03-01T04:30:00.123456Z""#),
    ("'infinity'::timestamptz", "!it is infinite"),
    ("'1 year 2 mons 3 days 04:05:06.7'::interval", r#""P1Y2M3DT4H5M6.7S""#),
    ("'-1 day'::interval", r#""P-1D""#),
    ("'0'::interval", r#""PT0S""#),
    ("ARRAY[1, NULL, 3]", "[1,null,3]"),
    ("'{}'::int[]", "[]"),
    ("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    ("'[0:1]={7,8}'::int[]", "[7,8]"),
    (r#"ARRAY['a,b', 'NULL', '', 'c"\d', '{e}', NULL]"#, r#"["a,b","NULL","","c\"\\d","{e}",null]"#),
    ("ARRAY[1.50, 2]::numeric[]", r#"["1.50","2"]"#),
    ("ARRAY[true, false]", "[true,false]"),
    ("ARRAY[1, 'NaN']::float8[]", "!it is NaN"),
    ("ARRAY['\\x00ff'::bytea]", r#"["AP8="]"#),
    (r#"ARRAY['{"a": 1}'::jsonb]"#, r#"[{"a":1}]"#),
    ("ARRAY['2024-02-29 12:00+00'::timestamptz]", r#"["2024-02-29T12:00:00Z"]"#),
    ("ARRAY['sad', 'ok']::mood[]", r#"["sad","ok"]"#),
    ("ARRAY[1, 2]::positive[]", "[1,2]"),
    ("'1 2'::int2vector", r#""1 2""#),
    ("'[1,5)'::int4range", r#""[1,5)""#),
    ("'{[1,3),[5,7)}'::int4multirange", r#""{[1,3),[5,7)}""#),
    ("'pg_class'::regclass", r#""pg_class""#),
    ("'16/B374D848'::pg_lsn", r#""16/B374D848""#),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_its_form() {
    let (_, database, _other) = database(
        "CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION hstore;
         CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE DOMAIN birth AS date; CREATE DOMAIN birthday AS birth NOT NULL;
         DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET DateStyle = German', current_database());
             EXECUTE format('ALTER DATABASE %I SET bytea_output = escape', current_database());
             EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Asia/Tokyo');
         END $$",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    for (expression, expected) in TYPES {
        let value = one(&mut *snapshot, &format!("SELECT {expression} AS v")).await;
        assert_eq!(json(&value), *expected, "{expression}");
        // Includes are read by another protocol.
        let query = format!("SELECT 1 AS id, {expression} AS v");
        let lists = snapshot.included(include(&query, &["id"]), &[vec![Value::Int(1)]]).await.unwrap();
        assert_eq!(json(&lists[0][0].values[1]), *expected, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_form_are_refused_with_the_remedy() {
    let (_, database, _other) = database("CREATE TYPE pair AS (a int, b text)").await;
    for (expression, kind) in [
        ("'(1,2)'::point", "point"),
        ("ROW(1, 'a')::pair", "pair"),
        ("ROW(1, 2)", "record"),
        ("ARRAY['(1,2)'::point]", "point[]"),
    ] {
        let error = database.columns(&format!("SELECT {expression} AS x")).await.unwrap_err().to_string();
        let expected =
            format!("column `x` has the type `{kind}`, which has no form in JSON: select x::text AS x");
        assert_eq!(error, expected);
    }
    assert!(database.columns("SELECT '(1,2)'::point::text AS x").await.is_ok());
}
