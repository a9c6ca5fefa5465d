use serde_json::{Value, json};

use super::*;

fn refused(code: u16, message: &str, causes: &Value) -> ApiError {
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "",
        "details": {"causes": causes},
    });
    ApiError::Refused(Box::new(serde_json::from_value(status).expect("a status")))
}

#[test]
fn a_refusal_is_about_one_object_and_everything_else_about_the_server() {
    for code in [400, 403, 404, 405, 409, 410, 413, 415, 422] {
        assert!(refused(code, "", &json!([])).is_refusal(), "{code}");
    }
    for code in [401, 408, 429, 500, 502, 503, 504] {
        assert!(!refused(code, "", &json!([])).is_refusal(), "{code}");
    }
    assert!(!ApiError::Timeout(Duration::ZERO).is_refusal());
}

#[test]
fn another_uid_is_recognised_by_the_field_of_the_cause() {
    let cause =
        |field: &str| json!([{"reason": "FieldValueInvalid", "message": "m", "field": field}]);
    assert!(refused(422, "", &cause("metadata.uid")).is_other_uid());
    assert!(!refused(409, "", &cause("metadata.uid")).is_other_uid());
    // A policy may quote the name of the field.
    let policy = "denied: metadata.uid must be set";
    assert!(!refused(422, policy, &cause("metadata.annotations")).is_other_uid());
    // A server that gives no causes.
    assert!(refused(422, "metadata.uid: Invalid value", &json!([])).is_other_uid());
    assert!(!refused(422, "metadata.annotations: Too long", &json!([])).is_other_uid());
}

#[test]
fn a_missing_right_is_not_the_refusal_of_a_policy() {
    let rbac = "pods \"p\" is forbidden: User \"system:serviceaccount:plexus:plexus\" cannot patch resource \
                \"pods/status\" in API group \"\" in the namespace \"default\"";
    assert!(refused(403, rbac, &json!([])).is_missing_right());
    let policy = "pods \"p\" is forbidden: admission webhook \"w\" denied the request: no";
    assert!(!refused(403, policy, &json!([])).is_missing_right());
}
