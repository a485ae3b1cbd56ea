//! The key algorithms that kubeadm can be asked for.

use std::fmt;
use std::str::FromStr;

/// A key algorithm by kubeadm's name (`encryptionAlgorithm`, kubeadm v1beta4).
///
/// `Display` and [`FromStr`] use exactly kubeadm's spelling, for example `RSA-2048`. kubeadm knows `ECDSA-P384` from
/// 1.34 on; whether a tenant's version may use it is the caller's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
}

/// A key algorithm name that kubeadm does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key algorithm {name:?} is unknown; use RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384")]
pub struct UnknownKeyAlgorithm {
    /// The name as given.
    pub name: String,
}

impl KeyAlgorithm {
    /// Every algorithm, in the order kubeadm documents them.
    pub const ALL: [Self; 5] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// kubeadm's name of this algorithm.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }

    /// The RSA algorithm with a modulus of this many bytes; none for sizes that kubeadm cannot be asked for.
    pub(crate) const fn rsa_with_modulus(bytes: usize) -> Option<Self> {
        match bytes {
            256 => Some(Self::Rsa2048),
            384 => Some(Self::Rsa3072),
            512 => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownKeyAlgorithm { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_every_name_it_writes() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn refuses_a_name_that_kubeadm_does_not_know() {
        let error = "rsa-2048".parse::<KeyAlgorithm>().unwrap_err();
        assert!(error.to_string().contains("\"rsa-2048\" is unknown; use RSA-2048"), "{error}");
    }
}
