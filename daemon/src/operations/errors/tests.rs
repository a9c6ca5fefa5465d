use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_api::cni::{CniError, Code, Defaults, NetworkConfig, Version};

use crate::cluster::kube::ApiError;
use crate::gather::{DiskError, GatherError};

fn unreadable(kind: ErrorKind) -> DiskError {
    DiskError::Unreadable {
        path: PathBuf::from("/x"),
        kind,
        error: "e".to_owned(),
    }
}

fn api(source: ApiError) -> GatherError {
    GatherError::Api {
        object: "pod ns/p".to_owned(),
        source: Arc::new(source),
    }
}

fn context(source: GatherError) -> GatherError {
    GatherError::Context {
        context: "network \"a\"".to_owned(),
        source: Box::new(source),
    }
}

#[test]
fn the_cause_of_a_gather_error_decides_its_code() {
    for (error, code) in [
        (GatherError::UnknownPod, Code::TryAgain),
        (GatherError::DefaultNetworkPending, Code::TryAgain),
        (
            GatherError::DefaultNetworkNotReady("/x".into()),
            Code::TryAgain,
        ),
        (
            api(ApiError::Timeout(Duration::from_secs(3))),
            Code::TryAgain,
        ),
        (
            api(ApiError::InvalidObject("e".to_owned())),
            Code::InvalidConfig,
        ),
        (GatherError::NoDefinition, Code::UnknownNetwork),
        (GatherError::NoDefaultNetworkConfigured, Code::InvalidConfig),
        (GatherError::DefaultNetworkCount(2), Code::InvalidAnnotation),
        (
            GatherError::Disk(unreadable(ErrorKind::NotFound)),
            Code::UnknownNetwork,
        ),
        (
            GatherError::Disk(unreadable(ErrorKind::InvalidData)),
            Code::Decode,
        ),
        (
            GatherError::Disk(unreadable(ErrorKind::PermissionDenied)),
            Code::Io,
        ),
        (
            GatherError::Disk(DiskError::NotAFile("/x".into())),
            Code::InvalidConfig,
        ),
        (
            GatherError::DefaultNetworkMissing {
                key: "clusterNetwork",
                source: Box::new(GatherError::NoDefinition),
            },
            Code::TryAgain,
        ),
    ] {
        let text = error.to_string();
        let cni_error = CniError::from(error.clone());
        assert!(cni_error.is(code), "{cni_error}");
        assert_eq!(cni_error.msg, text);
        let cni_error = CniError::from(context(error));
        assert!(cni_error.is(code), "{cni_error}");
        assert_eq!(cni_error.msg, format!("network \"a\": {text}"));
    }
}

#[test]
fn a_configuration_error_keeps_its_code_and_details() {
    let defaults = Defaults {
        name: Some("n"),
        version: Version::V1_0_0,
    };
    let config_error = NetworkConfig::parse(r#"{"cniVersion":"9.9.9","type":"x"}"#, defaults)
        .expect_err("an unsupported version");
    let expected = CniError::from(config_error.clone());
    assert!(!expected.details.is_empty());
    let error = CniError::from(context(GatherError::Definition(config_error)));
    assert_eq!(
        (error.code, error.details),
        (expected.code, expected.details)
    );
}
