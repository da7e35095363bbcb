//! RFC 6962 Merkle trees over leaf hashes: roots, inclusion proofs, consistency proofs.

use sha2::{Digest as _, Sha256};

use crate::chain::Hash;

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1u8]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a growing tree, in memory logarithmic in its size.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, widest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut left_over = self.size;
        while left_over & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            left_over >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of no leaves, `SHA-256("")`.
    #[must_use]
    pub fn root(&self) -> Hash {
        let Some((last, wider)) = self.peaks.split_last() else {
            return Sha256::digest([]).into();
        };
        wider.iter().rev().fold(*last, |acc, peak| node_hash(peak, &acc))
    }
}

/// The root over `leaves`.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// Splits a tree of two or more leaves where RFC 6962 does: at the largest power of two below its
/// size.
fn split(leaves: &[Hash]) -> Option<(&[Hash], &[Hash])> {
    let size = leaves.len();
    (size > 1).then(|| leaves.split_at_checked(size.next_power_of_two() / 2))?
}

/// The inclusion proof of leaf `index`, from the leaf upwards; `None` if there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let Some((left, right)) = split(leaves) else {
        return Some(Vec::new());
    };
    let mut proof;
    if index < left.len() {
        proof = inclusion_proof(left, index)?;
        proof.push(root_of(right));
    } else {
        proof = inclusion_proof(right, index - left.len())?;
        proof.push(root_of(left));
    }
    Some(proof)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the tree of `size` leaves under `root`.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The proof that the tree over the first `old` leaves is a prefix of the tree over all; `None`
/// if `old` is zero or more than there are.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    if old == 0 || old > leaves.len() {
        return None;
    }
    Some(sub_consistency(leaves, old, true))
}

/// RFC 6962 `SUBPROOF`: `known` while the old root is itself a node of this subtree.
fn sub_consistency(leaves: &[Hash], old: usize, known: bool) -> Vec<Hash> {
    let halves = split(leaves).filter(|_| old < leaves.len());
    let Some((left, right)) = halves else {
        return if known { Vec::new() } else { vec![root_of(leaves)] };
    };
    let mut proof;
    if old <= left.len() {
        proof = sub_consistency(left, old, known);
        proof.push(root_of(right));
    } else {
        proof = sub_consistency(right, old - left.len(), false);
        proof.push(root_of(left));
    }
    proof
}

/// Whether `proof` shows that the tree `(old, old_root)` is a prefix of the tree `(new, new_root)`.
#[must_use]
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    let (mut node, mut last) = (old - 1, new - 1);
    let shift = node.trailing_ones();
    node >>= shift;
    last >>= shift;
    let mut rest = proof.iter();
    // A complete old tree is its own first hash; it is not sent.
    let first = if old.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chain::leaf_hash;

    /// The leaves of the certificate transparency reference tests.
    const INPUTS: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    /// The roots over the first one to eight of them.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn roots_match_the_reference_vectors() {
        assert_eq!(
            hex::encode(Frontier::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut frontier = Frontier::default();
        for (input, root) in INPUTS.iter().zip(ROOTS) {
            frontier.push(leaf_hash(&hex::decode(input).unwrap()));
            assert_eq!(hex::encode(frontier.root()), root);
        }
        assert_eq!(frontier.size(), 8);
    }

    #[test]
    fn reference_inclusion_path() {
        let tree: Vec<Hash> = INPUTS.iter().map(|i| leaf_hash(&hex::decode(i).unwrap())).collect();
        let path = inclusion_proof(&tree, 5).unwrap();
        let text: Vec<String> = path.iter().map(hex::encode).collect();
        assert_eq!(
            text,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    #[test]
    fn every_small_proof_holds_and_only_where_it_belongs() {
        for size in 1..=33usize {
            let tree = leaves(size);
            let root = root_of(&tree);
            for index in 0..size {
                let proof = inclusion_proof(&tree, index).unwrap();
                for claimed in 0..size {
                    let holds =
                        verify_inclusion(&tree[index], claimed as u64, size as u64, &proof, &root);
                    assert_eq!(holds, claimed == index, "{size} {index} {claimed}");
                }
            }
            for old in 1..=size {
                let proof = consistency_proof(&tree, old).unwrap();
                let old_root = root_of(&tree[..old]);
                let new = (size as u64, &root);
                assert!(verify_consistency((old as u64, &old_root), new, &proof));
                assert!(!verify_consistency((old as u64, &[9; 32]), new, &proof));
            }
            assert!(inclusion_proof(&tree, size).is_none());
            assert!(consistency_proof(&tree, size + 1).is_none());
        }
    }

    proptest! {
        #[test]
        fn a_changed_proof_is_refused(size in 2usize..300, at in any::<prop::sample::Index>(), hop in any::<prop::sample::Index>(), byte in 0usize..32, bit in 0u8..8) {
            let tree = leaves(size);
            let root = root_of(&tree);
            let index = at.index(size);
            let good = inclusion_proof(&tree, index).unwrap();
            let ok = |proof: &[Hash]| verify_inclusion(&tree[index], index as u64, size as u64, proof, &root);
            prop_assert!(ok(&good));
            let mut flipped = good.clone();
            let hop = hop.index(good.len());
            flipped[hop][byte] ^= 1 << bit;
            prop_assert!(!ok(&flipped));
            let mut shorter = good.clone();
            shorter.remove(hop);
            prop_assert!(!ok(&shorter));
            let mut longer = good.clone();
            longer.insert(hop, [7; 32]);
            prop_assert!(!ok(&longer));
        }

        #[test]
        fn a_changed_history_is_not_consistent(size in 2usize..200, at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
            let tree = leaves(size);
            let old = 1 + cut.index(size - 1);
            let mut other = tree.clone();
            other[at.index(old)] = [3; 32];
            let proof = consistency_proof(&tree, old).unwrap();
            prop_assert!(!verify_consistency(
                (old as u64, &root_of(&other[..old])), (size as u64, &root_of(&tree)), &proof));
            prop_assert!(!verify_consistency(
                (old as u64, &root_of(&tree[..old])), (size as u64, &root_of(&other)), &proof));
        }
    }
}
