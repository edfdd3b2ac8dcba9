//! Shapes that providers use and that generated types cannot say: a link that may be expanded, one or many.

use std::{fmt, marker::PhantomData, slice};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

/// A related object: its URL, or the object itself if the request asked to expand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link<T> {
    /// The URL. Text from outside: it is read for an identifier and never followed.
    Url(String),
    /// The object.
    Expanded(Box<T>),
}

impl<T> Link<T> {
    /// The object, if it was expanded.
    pub fn expanded(&self) -> Option<&T> {
        match self {
            Self::Url(_) => None,
            Self::Expanded(value) => Some(value),
        }
    }

    /// The URL, if it was not expanded.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url(url) => Some(url),
            Self::Expanded(_) => None,
        }
    }

    /// The identifier in the URL: its last path segment of letters, digits, `-` and `_` that has a digit and is
    /// not a version such as `v2`. `None` if there is none, or if the object was expanded.
    ///
    /// Not a fixed position: providers write the same URL with and without a version, and hang further segments
    /// behind the identifier.
    pub fn id(&self) -> Option<&str> {
        let url = self.url()?;
        let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?.1,
            None => url,
        };
        path.rsplit('/').find(|segment| looks_like_an_id(segment))
    }

    /// The identifier of the object: the one in the [URL](Self::id), or what `of` finds in the object itself.
    pub fn id_or<'a>(&'a self, of: impl FnOnce(&'a T) -> Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Url(_) => self.id(),
            Self::Expanded(value) => of(value),
        }
    }

    /// Takes the object out, if it was expanded.
    pub fn into_expanded(self) -> Option<T> {
        match self {
            Self::Url(_) => None,
            Self::Expanded(value) => Some(*value),
        }
    }
}

fn looks_like_an_id(segment: &str) -> bool {
    let is_version = || {
        let number = segment.strip_prefix(['v', 'V']).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && segment.bytes().any(|b| b.is_ascii_digit())
        && !is_version()
}

impl<T: Serialize> Serialize for Link<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Url(url) => serializer.serialize_str(url),
            Self::Expanded(value) => value.serialize(serializer),
        }
    }
}

// By hand, because a derived untagged enum buffers the value, forgets the path of an error in it, and says only
// that no variant matched.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Link<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinkVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for LinkVisitor<T> {
            type Value = Link<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or an object")
            }

            fn visit_str<E: Error>(self, url: &str) -> Result<Self::Value, E> {
                Ok(Link::Url(url.to_owned()))
            }

            fn visit_string<E: Error>(self, url: String) -> Result<Self::Value, E> {
                Ok(Link::Url(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Link::Expanded(Box::new(value)))
            }
        }

        deserializer.deserialize_any(LinkVisitor(PhantomData))
    }
}

/// One value where a provider documents a list, or sometimes sends one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOrMany<T> {
    /// The bare value.
    One(Box<T>),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// The values, one by one.
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.as_slice().iter()
    }
}

impl<'a, T> IntoIterator for &'a OneOrMany<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for OneOrMany<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(value) => vec![*value].into_iter(),
            Self::Many(values) => values.into_iter(),
        }
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(value) => value.serialize(serializer),
            Self::Many(values) => values.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor<T>(PhantomData<T>);

        macro_rules! one {
            ($($method:ident: $ty:ty),*) => {$(
                fn $method<E: Error>(self, value: $ty) -> Result<Self::Value, E> {
                    T::deserialize(value.into_deserializer()).map(|value| OneOrMany::One(Box::new(value)))
                }
            )*};
        }

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| OneOrMany::One(Box::new(value)))
            }

            one!(visit_str: &str, visit_string: String, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
        }

        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Car {
        id: String,
        #[serde(default)]
        kwh: Option<f64>,
    }

    type CarLink = Link<Car>;

    #[test]
    fn an_identifier_comes_from_the_url_or_the_object() {
        let url: Link<String> = Link::Url("https://api.example/v2/cars/car01".into());
        let object = Link::Expanded(Box::new("car02".to_owned()));
        let id = |link: &Link<String>| link.id_or(|object| Some(object.as_str())).map(str::to_owned);
        assert_eq!((id(&url).as_deref(), id(&object).as_deref()), (Some("car01"), Some("car02")));
        assert_eq!((url.into_expanded(), object.into_expanded()), (None, Some("car02".to_owned())));
    }

    #[test]
    fn a_link_is_a_url_or_an_object_and_goes_back_as_it_came() {
        for json in [r#""https://a.example/v2/cars/car42""#, r#"{"id":"car42","kwh":1.5}"#] {
            let link: CarLink = from_str(json).unwrap();
            assert_eq!(to_string(&link).unwrap(), json);
            assert!(link.url().is_some() != link.expanded().is_some());
            let from_value: CarLink = serde_json::from_value(from_str(json).unwrap()).unwrap();
            assert_eq!(from_value, link);
        }
        assert_eq!(from_str::<Option<CarLink>>("null").unwrap(), None);
        let error = from_str::<CarLink>("[]").unwrap_err().to_string();
        assert!(error.contains("a URL or an object"), "{error}");
    }

    #[test]
    fn an_error_inside_an_expanded_object_keeps_its_path() {
        #[derive(Debug, Deserialize)]
        struct Session {
            #[serde(rename = "car")]
            _car: CarLink,
            #[serde(rename = "prices", default)]
            _prices: Option<OneOrMany<Car>>,
        }
        let path = |json: &str| {
            let mut json = serde_json::Deserializer::from_str(json);
            serde_path_to_error::deserialize::<_, Session>(&mut json).unwrap_err().path().to_string()
        };
        assert_eq!(path(r#"{"car":{"id":"a","kwh":"much"}}"#), "car.kwh");
        assert_eq!(path(r#"{"car":"u","prices":[{"id":"a"},{"id":"b","kwh":[]}]}"#), "prices[1].kwh");
        assert_eq!(path(r#"{"car":"u","prices":{"id":7}}"#), "prices.id");
    }

    #[test]
    fn an_id_is_the_last_segment_that_looks_like_one() {
        for (url, id) in [
            ("https://a1.example/v2/vehicles/vhcl01HN2NJ9/", Some("vhcl01HN2NJ9")),
            ("https://a.example/v2/sub_sessions/csub01HS/energy_usage/?a=b1#c2", Some("csub01HS")),
            ("https://a.example/evse/evse01", Some("evse01")),
            ("/users/9b2e4a6c-0f1d-4c55-8a1e-2f6f3f0c9a77", Some("9b2e4a6c-0f1d-4c55-8a1e-2f6f3f0c9a77")),
            ("vhcl01HN2NJ9", Some("vhcl01HN2NJ9")),
            ("42", Some("42")),
            ("https://a.example/v2/users/", None),
            ("https://a1.example", None),
            ("https://a1.example/v2", None),
            ("https://a.example/x?id=42", None),
            ("", None),
        ] {
            assert_eq!(CarLink::Url(url.into()).id(), id, "{url}");
        }
    }

    #[test]
    fn one_or_many_is_a_list_either_way() {
        let one: OneOrMany<Car> = from_str(r#"{"id":"a"}"#).unwrap();
        let many: OneOrMany<Car> = from_str(r#"[{"id":"a"},{"id":"b"}]"#).unwrap();
        assert_eq!((one.iter().count(), many.iter().count()), (1, 2));
        assert_eq!((&many).into_iter().map(|car| car.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(one.into_iter().map(|car| car.id).collect::<Vec<_>>(), ["a"]);
        assert_eq!(from_str::<OneOrMany<Car>>("[]").unwrap().as_slice(), []);
        assert_eq!(from_str::<OneOrMany<String>>(r#""u""#).unwrap().as_slice(), ["u"]);
        assert_eq!(from_str::<OneOrMany<f64>>("1.5").unwrap().as_slice(), [1.5]);
        assert_eq!(from_str::<OneOrMany<Link<Car>>>(r#"["u",{"id":"a"}]"#).unwrap().as_slice().len(), 2);
        assert_eq!(to_string(&from_str::<OneOrMany<u8>>("[1,2]").unwrap()).unwrap(), "[1,2]");
    }
}
