//! What stands here for the objects of a manager.

use super::ManagerError;
use super::client::{Line, Object, decode, encode};
use super::talk::{Answer, Blob, OfDict, OfList};
use crate::Value;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

/// A list in a manager. A clone, here or in another process, is the same list.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{ListProxy, Manager};
///
/// let manager = Manager::new()?;
/// let list: ListProxy<u32> = manager.list()?;
/// list.append(&1)?;
/// list.extend(&[2, 4])?;
/// list.insert(2, &3)?;
/// list.set(0, &0)?;
/// assert_eq!(list.to_vec()?, [0, 2, 3, 4]);
/// assert_eq!((list.get(1)?, list.get(9)?), (Some(2), None));
/// assert_eq!((list.pop()?, list.remove(0)?), (Some(4), Some(0)));
/// list.clear()?;
/// assert!(list.is_empty()? && list.len()? == 0);
/// # Ok::<(), brigade::manager::ManagerError>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ListProxy<T> {
    object: Object,
    of: PhantomData<fn() -> T>,
}

/// A dict in a manager. A clone, here or in another process, is the same dict.
///
/// Two keys are one if they are encoded as the same bytes.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{DictProxy, Manager};
/// use std::collections::BTreeMap;
///
/// let manager = Manager::new()?;
/// let ages: DictProxy<String, u8> = manager.dict()?;
/// let (ann, bob) = ("Ann".to_owned(), "Bob".to_owned());
/// assert_eq!((ages.insert(&ann, &41)?, ages.insert(&ann, &42)?), (None, Some(41)));
/// ages.update(&BTreeMap::from([(bob.clone(), 7)]))?;
/// assert_eq!((ages.get(&bob)?, ages.contains(&ann)?, ages.len()?), (Some(7), true, 2));
/// assert_eq!(ages.remove(&bob)?, Some(7));
/// assert_eq!(ages.items()?, [(ann, 42)]);
/// ages.clear()?;
/// assert!(ages.is_empty()?);
/// # Ok::<(), brigade::manager::ManagerError>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct DictProxy<K, V> {
    object: Object,
    of: PhantomData<fn() -> (K, V)>,
}

/// One value in a manager. A clone, here or in another process, is the same value.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, ValueProxy};
///
/// let manager = Manager::new()?;
/// let best: ValueProxy<f64> = manager.value(&1.5)?;
/// best.set(&2.5)?;
/// assert_eq!(best.update_with(|best| best.max(9.0))?, 9.0);
/// assert_eq!(best.get()?, 9.0);
/// # Ok::<(), brigade::manager::ManagerError>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ValueProxy<T>(DictProxy<(), T>);

/// Attributes by name in a manager, each of a type of its own. A clone, here or in another process, is the same namespace.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, NamespaceProxy};
///
/// let manager = Manager::new()?;
/// let settings: NamespaceProxy = manager.namespace("settings")?;
/// settings.set("level", &3_u8)?;
/// settings.set("user", &"ann".to_owned())?;
/// assert_eq!(settings.get::<u8>("level")?, Some(3));
/// assert!(settings.remove("user")?);
/// assert_eq!(settings.names()?, ["level"]);
/// # Ok::<(), brigade::manager::ManagerError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct NamespaceProxy(DictProxy<String, (String, Blob)>);

type Asked<T> = Result<T, ManagerError>;

impl<T: Value> ListProxy<T> {
    pub(super) fn make(line: &Line, name: Option<&str>) -> Asked<ListProxy<T>> {
        let id = line.make(name, true, &format!("list of {}", type_name::<T>()))?;
        Ok(ListProxy { object: Object { line: line.clone(), id }, of: PhantomData })
    }

    /// Puts a value behind the last.
    ///
    /// # Errors
    /// If the value cannot be encoded, or the manager is gone.
    pub fn append(&self, value: &T) -> Asked<()> {
        self.extend(std::slice::from_ref(value))
    }

    /// Puts values behind the last, and nobody's between them.
    ///
    /// # Errors
    /// As [`ListProxy::append`].
    pub fn extend(&self, values: &[T]) -> Asked<()> {
        let blobs: Asked<Vec<Blob>> = values.iter().map(encode).collect();
        let answer = self.object.list(OfList::Extend(blobs?))?;
        self.object.done(&answer)
    }

    /// Puts a value before the one at that index; those behind it move up.
    ///
    /// # Errors
    /// As [`ListProxy::append`], and if the index is beyond the end.
    pub fn insert(&self, index: usize, value: &T) -> Asked<()> {
        match self.object.list(OfList::Insert(index as u64, encode(value)?))? {
            Answer::OutOfRange(len) => Err(ManagerError::OutOfRange { index, len }),
            answer => self.object.done(&answer),
        }
    }

    /// The value at that index; `None` beyond the end.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn get(&self, index: usize) -> Asked<Option<T>> {
        self.decoded(self.object.list(OfList::Get(index as u64))?)
    }

    /// Replaces the value at that index.
    ///
    /// # Errors
    /// As [`ListProxy::insert`].
    pub fn set(&self, index: usize, value: &T) -> Asked<()> {
        self.put(index, encode(value)?, None).map(drop)
    }

    /// Replaces the value at that index by what `of` makes of it; if somebody else has replaced it meanwhile, again. Returns
    /// the new one.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let manager = brigade::manager::Manager::new()?;
    /// let list = manager.list()?;
    /// list.append(&20)?;
    /// assert_eq!(list.update_with(0, |n: u32| n + 1)?, 21);
    /// # Ok::<(), brigade::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ListProxy::insert`].
    pub fn update_with(&self, index: usize, mut of: impl FnMut(T) -> T) -> Asked<T> {
        loop {
            let found = self.object.list(OfList::Get(index as u64))?;
            let Some(seen) = self.object.found(found)? else {
                return Err(ManagerError::OutOfRange { index, len: self.len()? as u64 });
            };
            let value = of(decode(&seen)?);
            if self.put(index, encode(&value)?, Some(seen))? {
                return Ok(value);
            }
        }
    }

    fn put(&self, index: usize, value: Blob, if_is: Option<Blob>) -> Asked<bool> {
        match self.object.list(OfList::Set { index: index as u64, value, if_is })? {
            Answer::OutOfRange(len) => Err(ManagerError::OutOfRange { index, len }),
            answer => self.object.was(&answer),
        }
    }

    /// Takes the last value; `None` if there is none.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn pop(&self) -> Asked<Option<T>> {
        self.decoded(self.object.list(OfList::Remove(None))?)
    }

    /// Takes the value at that index, and those behind it move down; `None` beyond the end.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn remove(&self, index: usize) -> Asked<Option<T>> {
        self.decoded(self.object.list(OfList::Remove(Some(index as u64)))?)
    }

    /// How many values there are.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn len(&self) -> Asked<usize> {
        let answer = self.object.list(OfList::Len)?;
        self.object.count(&answer).map(|len| len as usize)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn is_empty(&self) -> Asked<bool> {
        self.len().map(|len| len == 0)
    }

    /// A copy of all, as they are at one moment.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn to_vec(&self) -> Asked<Vec<T>> {
        match self.object.list(OfList::All)? {
            Answer::Values(values) => values.iter().map(|value| decode(value)).collect(),
            _ => Err(self.object.line.strange()),
        }
    }

    /// Removes all.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn clear(&self) -> Asked<()> {
        let answer = self.object.list(OfList::Clear)?;
        self.object.done(&answer)
    }

    fn decoded(&self, answer: Answer) -> Asked<Option<T>> {
        self.object.found(answer)?.map(|blob| decode(&blob)).transpose()
    }
}

impl<K: Value, V: Value> DictProxy<K, V> {
    pub(super) fn make(line: &Line, name: Option<&str>) -> Asked<DictProxy<K, V>> {
        let shape = format!("dict of {} and {}", type_name::<K>(), type_name::<V>());
        DictProxy::make_as(line, name, &shape)
    }

    fn make_as(line: &Line, name: Option<&str>, shape: &str) -> Asked<DictProxy<K, V>> {
        let id = line.make(name, false, shape)?;
        Ok(DictProxy { object: Object { line: line.clone(), id }, of: PhantomData })
    }

    /// The value of that key.
    ///
    /// # Errors
    /// If the key cannot be encoded, or the manager is gone.
    pub fn get(&self, key: &K) -> Asked<Option<V>> {
        self.seen(encode(key)?)?.map(|blob| decode(&blob)).transpose()
    }

    fn seen(&self, key: Blob) -> Asked<Option<Blob>> {
        self.object.found(self.object.dict(OfDict::Get(key))?)
    }

    /// Gives that key this value. Returns the one that it had.
    ///
    /// # Errors
    /// If one of them cannot be encoded, or the manager is gone.
    pub fn insert(&self, key: &K, value: &V) -> Asked<Option<V>> {
        self.put(encode(key)?, Some(encode(value)?))
    }

    /// Removes a key. Returns the value that it had.
    ///
    /// # Errors
    /// As [`DictProxy::get`].
    pub fn remove(&self, key: &K) -> Asked<Option<V>> {
        self.put(encode(key)?, None)
    }

    fn put(&self, key: Blob, value: Option<Blob>) -> Asked<Option<V>> {
        let found = self.object.dict(OfDict::Put(key, value))?;
        self.object.found(found)?.map(|blob| decode(&blob)).transpose()
    }

    /// Gives these keys these values, all at once.
    ///
    /// # Errors
    /// As [`DictProxy::insert`].
    pub fn update<'a>(&self, items: impl IntoIterator<Item = (&'a K, &'a V)>) -> Asked<()> {
        let items: Asked<Vec<(Blob, Blob)>> =
            items.into_iter().map(|(key, value)| Ok((encode(key)?, encode(value)?))).collect();
        let answer = self.object.dict(OfDict::Extend(items?))?;
        self.object.done(&answer)
    }

    /// Gives that key what `of` makes of the value that it has, if it has one; if somebody else has changed that meanwhile,
    /// again. Returns the new one.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let manager = brigade::manager::Manager::new()?;
    /// let counts = manager.dict::<String, u64>()?;
    /// for word in ["to", "be", "or", "not", "to", "be"] {
    ///     counts.update_with(&word.to_owned(), |count| count.unwrap_or(0) + 1)?;
    /// }
    /// assert_eq!(counts.get(&"be".to_owned())?, Some(2));
    /// # Ok::<(), brigade::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`DictProxy::insert`].
    pub fn update_with(&self, key: &K, mut of: impl FnMut(Option<V>) -> V) -> Asked<V> {
        let key = encode(key)?;
        loop {
            let seen = self.seen(key.clone())?;
            let value = of(seen.as_ref().map(|blob| decode(blob)).transpose()?);
            let ask = OfDict::Exchange { key: key.clone(), value: Some(encode(&value)?), if_is: seen };
            let answer = self.object.dict(ask)?;
            if self.object.was(&answer)? {
                return Ok(value);
            }
        }
    }

    /// Whether that key has a value.
    ///
    /// # Errors
    /// As [`DictProxy::get`].
    pub fn contains(&self, key: &K) -> Asked<bool> {
        Ok(self.seen(encode(key)?)?.is_some())
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn len(&self) -> Asked<usize> {
        let answer = self.object.dict(OfDict::Len)?;
        self.object.count(&answer).map(|len| len as usize)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn is_empty(&self) -> Asked<bool> {
        self.len().map(|len| len == 0)
    }

    /// A copy of all, as they are at one moment, in the order of the keys' bytes.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn items(&self) -> Asked<Vec<(K, V)>> {
        match self.object.dict(OfDict::All)? {
            Answer::Items(items) => {
                items.iter().map(|(key, value)| Ok((decode(key)?, decode(value)?))).collect()
            }
            _ => Err(self.object.line.strange()),
        }
    }

    /// Removes all.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn clear(&self) -> Asked<()> {
        let answer = self.object.dict(OfDict::Clear)?;
        self.object.done(&answer)
    }
}

impl<T: Value> ValueProxy<T> {
    /// Of that name it is the value that is there, if there is one, and otherwise the first.
    pub(super) fn make(line: &Line, name: Option<&str>, first: &T) -> Asked<ValueProxy<T>> {
        let dict = DictProxy::make_as(line, name, &format!("value of {}", type_name::<T>()))?;
        let ask = OfDict::Exchange { key: encode(&())?, value: Some(encode(first)?), if_is: None };
        let answer = dict.object.dict(ask)?;
        dict.object.was(&answer)?;
        Ok(ValueProxy(dict))
    }

    /// A copy of it.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn get(&self) -> Asked<T> {
        self.0.get(&())?.ok_or_else(|| self.0.object.line.strange())
    }

    /// Replaces it.
    ///
    /// # Errors
    /// If the value cannot be encoded, or the manager is gone.
    pub fn set(&self, value: &T) -> Asked<()> {
        self.0.insert(&(), value).map(drop)
    }

    /// Replaces it by what `of` makes of it; if somebody else has replaced it meanwhile, again. Returns the new one.
    ///
    /// # Errors
    /// As [`ValueProxy::set`].
    pub fn update_with(&self, mut of: impl FnMut(T) -> T) -> Asked<T> {
        // It was made with a value, and nothing removes it.
        self.0.update_with(&(), |there| of(there.expect("a value has one")))
    }
}

impl NamespaceProxy {
    pub(super) fn make(line: &Line, name: Option<&str>) -> Asked<NamespaceProxy> {
        DictProxy::make_as(line, name, "namespace").map(NamespaceProxy)
    }

    /// Gives an attribute a value, of whatever type.
    ///
    /// # Errors
    /// If the value cannot be encoded, or the manager is gone.
    pub fn set<T: Value>(&self, name: &str, value: &T) -> Asked<()> {
        let typed = (type_name::<T>().to_owned(), encode(value)?);
        self.0.insert(&name.to_owned(), &typed).map(drop)
    }

    /// The value of an attribute; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`ManagerError::OtherType`] if it is of another type; if the manager is gone.
    pub fn get<T: Value>(&self, name: &str) -> Asked<Option<T>> {
        let Some((has, blob)) = self.0.get(&name.to_owned())? else { return Ok(None) };
        let asked = type_name::<T>();
        if has != asked {
            return Err(ManagerError::OtherType { name: name.to_owned(), has, asked: asked.to_owned() });
        }
        decode(&blob).map(Some)
    }

    /// Removes an attribute; false if there is none of that name.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn remove(&self, name: &str) -> Asked<bool> {
        self.0.remove(&name.to_owned()).map(|was| was.is_some())
    }

    /// The names of all attributes.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn names(&self) -> Asked<Vec<String>> {
        Ok(self.0.items()?.into_iter().map(|(name, _)| name).collect())
    }
}

impl<T> Clone for ListProxy<T> {
    fn clone(&self) -> ListProxy<T> {
        ListProxy { object: self.object.clone(), of: PhantomData }
    }
}

impl<K, V> Clone for DictProxy<K, V> {
    fn clone(&self) -> DictProxy<K, V> {
        DictProxy { object: self.object.clone(), of: PhantomData }
    }
}

impl<T> Clone for ValueProxy<T> {
    fn clone(&self) -> ValueProxy<T> {
        ValueProxy(self.0.clone())
    }
}

fn show(f: &mut fmt::Formatter<'_>, what: &str, object: &Object) -> fmt::Result {
    // Not the key.
    write!(f, "{what} {} of the manager at {}", object.id, object.line.address)
}

impl<T> fmt::Debug for ListProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "list", &self.object)
    }
}

impl<K, V> fmt::Debug for DictProxy<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "dict", &self.object)
    }
}

impl<T> fmt::Debug for ValueProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "value", &self.0.object)
    }
}

impl fmt::Debug for NamespaceProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "namespace", &self.0.object)
    }
}
