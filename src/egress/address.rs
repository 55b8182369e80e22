//! Which machine addresses a call may reach, whatever name led there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How far from the public internet an address may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Loopback and private networks too: hosts that the operator approved.
    Intranet,
    Public,
}

/// Whether `ip` may be connected to. Link-local and metadata addresses never; private ones only for
/// approved hosts. IPv4 inside IPv6 (mapped, NAT64, 6to4) counts as the IPv4 address that it is.
pub fn may_reach(ip: IpAddr, reach: Reach) -> bool {
    match ip {
        IpAddr::V4(v4) => v4_allowed(v4, reach),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => v4_allowed(v4, reach),
            None => v6_allowed(v6, reach),
        },
    }
}

fn v4_allowed(ip: Ipv4Addr, reach: Reach) -> bool {
    let [a, b, ..] = ip.octets();
    let never = ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || a == 0 || a >= 240;
    // 100.64/10 is carrier-grade NAT, 198.18/15 benchmarking: as private as RFC 1918.
    let shared = (a == 100 && (64..128).contains(&b)) || (a == 198 && (18..20).contains(&b));
    let private = ip.is_private() || ip.is_loopback() || shared;
    !never && (!private || reach == Reach::Intranet)
}

fn v6_allowed(ip: Ipv6Addr, reach: Reach) -> bool {
    let first = ip.segments()[0];
    let link_local = first & 0xffc0 == 0xfe80;
    // The metadata service of a large cloud lives in a unique-local range.
    let metadata = ip.segments()[..2] == [0xfd00, 0x0ec2];
    let never = ip.is_unspecified() || ip.is_multicast() || link_local || metadata;
    let private = ip.is_loopback() || first & 0xfe00 == 0xfc00;
    !never && (!private || reach == Reach::Intranet)
}

fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // Mapped and the deprecated compatible form; :: and ::1 are neither.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if high != 0 || low > 1 => Some(v4(high, low)),
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Looks a name up once and hands out only addresses that may be reached, so that what was checked is what
/// is connected to.
#[derive(Clone, Debug)]
pub struct CheckedResolver(pub Reach);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| may_reach(a.ip(), reach)).collect();
            if allowed.is_empty() {
                return Err("its name leads to no address that may be reached".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_22_no_form_of_an_internal_address_is_public() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "0.0.0.0",
            "::",
            "100.64.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::127.0.0.1",
        ] {
            assert!(!may_reach(text.parse().unwrap(), Reach::Public), "{text}");
        }
        for text in ["93.184.216.34", "2606:2800:220:1::1"] {
            assert!(may_reach(text.parse().unwrap(), Reach::Public), "{text}");
        }
    }

    #[test]
    fn approved_hosts_may_be_private_but_never_link_local() {
        for text in ["127.0.0.1", "10.1.2.3", "::1", "fc00::1"] {
            assert!(may_reach(text.parse().unwrap(), Reach::Intranet), "{text}");
        }
        for text in ["169.254.169.254", "::ffff:a9fe:a9fe", "fe80::1", "fd00:ec2::254", "0.0.0.0"] {
            assert!(!may_reach(text.parse().unwrap(), Reach::Intranet), "{text}");
        }
    }
}
