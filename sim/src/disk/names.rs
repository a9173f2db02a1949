//! The namespace: which path names which file, now and after a power loss.
//!
//! A change to a folder survives a power loss for certain only after the folder was synced; until then any subset of
//! the changes may survive. A rename within one folder, or across, is lost or kept as a whole.
//!
//! Invariant: every name's folder exists, in `live` and in `stable`.

use crate::dice::Dice;
use crate::disk::file::Fate;
use crate::faults::{Counts, Fault};
use highwater::boundary::IoError;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Dir,
    /// The file's number, see `Disk::files`.
    File(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Add { path: String, node: Node },
    Drop { path: String },
    Move { from: String, to: String, node: Node },
}

#[derive(Clone, Default)]
pub struct Names {
    live: BTreeMap<String, Node>,
    stable: BTreeMap<String, Node>,
    pending: Vec<Change>,
}

/// The folder that holds `path`; `""` for the data folder.
pub fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

fn inside<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}

impl Change {
    fn touches(&self, folder: &str) -> bool {
        match self {
            Change::Add { path, .. } | Change::Drop { path } => parent(path) == folder,
            Change::Move { from, to, .. } => parent(from) == folder || parent(to) == folder,
        }
    }

    fn apply(self, names: &mut BTreeMap<String, Node>) {
        match self {
            Change::Add { path, node } => {
                names.insert(path, node);
            }
            Change::Drop { path } => {
                names.remove(&path);
            }
            Change::Move { from, to, node } => {
                if names.get(&from) == Some(&node) {
                    names.remove(&from);
                }
                if node == Node::Dir {
                    let under: Vec<String> =
                        names.keys().filter(|path| inside(&from, path).is_some()).cloned().collect();
                    for path in under {
                        let moved = format!("{to}/{}", inside(&from, &path).expect("it was filtered"));
                        let node = names.remove(&path).expect("it was listed");
                        names.insert(moved, node);
                    }
                }
                names.insert(to, node);
            }
        }
    }
}

impl Names {
    pub fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::Dir) } else { self.live.get(path).copied() }
    }

    pub fn live(&self) -> impl Iterator<Item = (&str, Node)> {
        self.live.iter().map(|(path, node)| (path.as_str(), *node))
    }

    /// The names that a power loss which keeps nothing leaves.
    pub fn stable(&self) -> impl Iterator<Item = (&str, Node)> {
        self.stable.iter().map(|(path, node)| (path.as_str(), *node))
    }

    /// Marks every file to which some name leads, now or after a power loss.
    pub fn mark(&self, marks: &mut [bool]) {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Add { node, .. } | Change::Move { node, .. } => Some(node),
            Change::Drop { .. } => None,
        });
        for node in self.live.values().chain(self.stable.values()).chain(pending) {
            if let Node::File(file) = node {
                marks[*file] = true;
            }
        }
    }

    fn folder_exists(&self, path: &str) -> Result<(), IoError> {
        match self.get(parent(path)) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(IoError::Os(20)),
            None => Err(IoError::NotFound),
        }
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    pub fn add(&mut self, path: &str, node: Node) -> Result<(), IoError> {
        self.folder_exists(path)?;
        assert!(self.get(path).is_none(), "{path} exists");
        self.change(Change::Add { path: path.to_string(), node });
        Ok(())
    }

    pub fn list(&self, folder: &str) -> Result<Vec<String>, IoError> {
        match self.get(folder) {
            Some(Node::Dir) => {}
            Some(Node::File(_)) => return Err(IoError::Os(20)),
            None => return Err(IoError::NotFound),
        }
        let names = self.live.keys().filter_map(|path| inside(folder, path)).filter(|name| !name.contains('/'));
        Ok(names.map(str::to_string).collect())
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), IoError> {
        let node = self.get(from).ok_or(IoError::NotFound)?;
        self.folder_exists(to)?;
        match (node, self.get(to)) {
            (Node::File(_), Some(Node::Dir)) => return Err(IoError::Os(21)),
            (Node::Dir, Some(Node::File(_))) => return Err(IoError::Os(20)),
            (Node::Dir, Some(Node::Dir)) if !self.list(to)?.is_empty() => return Err(IoError::NotEmpty),
            _ => {}
        }
        self.change(Change::Move { from: from.to_string(), to: to.to_string(), node });
        Ok(())
    }

    pub fn remove(&mut self, path: &str) -> Result<(), IoError> {
        if self.get(path).ok_or(IoError::NotFound)? == Node::Dir && !self.list(path)?.is_empty() {
            return Err(IoError::NotEmpty);
        }
        self.change(Change::Drop { path: path.to_string() });
        Ok(())
    }

    pub fn sync(&mut self, folder: &str) -> Result<(), IoError> {
        if self.get(folder) != Some(Node::Dir) {
            return Err(IoError::NotFound);
        }
        let (synced, waiting) =
            std::mem::take(&mut self.pending).into_iter().partition(|change: &Change| change.touches(folder));
        self.pending = waiting;
        for change in synced {
            change.apply(&mut self.stable);
        }
        Ok(())
    }

    /// The power goes: of the changes whose folder was not synced, some were done.
    pub fn lose_power(&mut self, fate: Fate, dice: &mut Dice, counts: &mut Counts) {
        for change in std::mem::take(&mut self.pending) {
            let kept = match fate {
                Fate::LoseAll => false,
                Fate::KeepAll => true,
                Fate::PerWrite | Fate::PerSector => dice.coin(),
            };
            if kept {
                change.apply(&mut self.stable);
                continue;
            }
            counts.add(match change {
                Change::Add { .. } => Fault::LostName,
                Change::Drop { .. } => Fault::LostRemove,
                Change::Move { .. } => Fault::LostRename,
            });
        }
        self.live = reachable(&self.stable);
        self.stable = self.live.clone();
    }

    /// The namespace as the hardest power loss would leave it.
    pub fn worst_case(&self) -> Names {
        let live = reachable(&self.stable);
        Names { stable: live.clone(), live, pending: Vec::new() }
    }
}

/// Without the names whose folder is not there. A folder comes before what it holds, so one pass is enough.
fn reachable(names: &BTreeMap<String, Node>) -> BTreeMap<String, Node> {
    let mut kept = BTreeMap::new();
    for (path, node) in names {
        let folder = parent(path);
        if folder.is_empty() || kept.get(folder) == Some(&Node::Dir) {
            kept.insert(path.clone(), *node);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Purpose;

    fn lose(names: &mut Names, fate: Fate) {
        names.lose_power(fate, &mut Dice::new(3, Purpose::Disk), &mut Counts::default());
    }

    #[test]
    fn a_name_survives_for_certain_only_once_its_folder_is_synced() {
        let mut names = Names::default();
        names.add("a", Node::Dir).unwrap();
        names.add("a/f", Node::File(0)).unwrap();
        names.sync("a").unwrap();
        lose(&mut names.clone(), Fate::KeepAll);
        let mut kept = names.clone();
        kept.sync("").unwrap();
        lose(&mut kept, Fate::LoseAll);
        assert_eq!(kept.get("a/f"), Some(Node::File(0)));
        lose(&mut names, Fate::LoseAll);
        assert_eq!((names.get("a"), names.get("a/f")), (None, None), "its folder's name was never durable");
    }

    #[test]
    fn a_rename_is_lost_or_kept_whole() {
        let mut names = Names::default();
        names.add("tmp", Node::File(1)).unwrap();
        names.add("now", Node::File(0)).unwrap();
        names.sync("").unwrap();
        names.rename("tmp", "now").unwrap();
        let mut kept = names.clone();
        lose(&mut kept, Fate::KeepAll);
        assert_eq!((kept.get("tmp"), kept.get("now")), (None, Some(Node::File(1))));
        lose(&mut names, Fate::LoseAll);
        assert_eq!((names.get("tmp"), names.get("now")), (Some(Node::File(1)), Some(Node::File(0))));
    }

    #[test]
    fn a_folder_moves_with_what_it_holds() {
        let mut names = Names::default();
        names.add("new", Node::Dir).unwrap();
        names.add("new/f", Node::File(0)).unwrap();
        names.sync("new").unwrap();
        names.rename("new", "now").unwrap();
        names.sync("").unwrap();
        lose(&mut names, Fate::LoseAll);
        assert_eq!(names.list("now").unwrap(), ["f"]);
        assert_eq!(names.remove("now"), Err(IoError::NotEmpty));
    }
}
