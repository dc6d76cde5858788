//! Which requests only read, although they are POSTs.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

/// Returns whether a request is an operation that only reads, by the name of the operation. The JSON protocols have the
/// name in a header, the query protocols in the form.
pub(crate) fn is_read(request: &HttpRequest) -> bool {
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|target| target.rsplit('.').next());
    let operation = target.or_else(|| {
        let content_type = request.headers().get("content-type")?;
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        // The query protocol writes the operation first. The rest of a body may be a user's text.
        let rest = request
            .body()
            .bytes()
            .filter(|_| is_form)?
            .strip_prefix(b"Action=")?;
        std::str::from_utf8(rest.split(|byte| *byte == b'&').next()?).ok()
    });
    operation.is_some_and(|operation| {
        !WRITES.contains(&operation) && READS.iter().any(|read| is_named(operation, read))
    })
}

/// Returns whether a name is the word or begins with it: `Get` and `GetItem`, and not `Getaway`.
fn is_named(operation: &str, word: &str) -> bool {
    let rest = operation.strip_prefix(word);
    rest.is_some_and(|rest| rest.chars().next().is_none_or(char::is_uppercase))
}

/// AWS names its operations after verbs. These have no effect on what is stored, but for [`WRITES`].
const READS: [&str; 6] = ["BatchGet", "Describe", "Get", "List", "Query", "Scan"];
/// These take a task from a queue, create an identity, use up a refresh token, or send a message to a user. An operation
/// that only creates temporary credentials or a token is not in the list: a second one is harmless.
const WRITES: [&str; 5] = [
    "GetActivityTask",
    "GetId",
    "GetOpenIdTokenForDeveloperIdentity",
    "GetTokensFromRefreshToken",
    "GetUserAttributeVerificationCode",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn post_as(content_type: &str, target: &str, body: &str) -> bool {
        let mut request = HttpRequest::new(body.into());
        request.set_method("POST").unwrap();
        if !target.is_empty() {
            request
                .headers_mut()
                .insert("x-amz-target", target.to_owned());
        }
        request
            .headers_mut()
            .insert("content-type", content_type.to_owned());
        is_read(&request)
    }

    fn post(target: &str, body: &str) -> bool {
        post_as(
            "application/x-www-form-urlencoded; charset=utf-8",
            target,
            body,
        )
    }

    #[test]
    fn text_in_a_body_names_no_operation() {
        let url = r#"{"cb":"https://sts.test/?Version=1&Action=GetCallerIdentity&x=1"}"#;
        assert!(!post_as("application/json", "", url));
        assert!(!post("", url));
        assert!(!post_as("application/json", "", "Action=GetItem"));
        assert!(!post("", "Name=x&Action=GetItem"));
    }

    #[test]
    fn operations_that_take_or_create_are_writes() {
        for target in [
            "AWSStepFunctions.GetActivityTask",
            "AWSCognitoIdentityService.GetId",
            "AWSCognitoIdentityService.GetOpenIdTokenForDeveloperIdentity",
            "AWSCognitoIdentityProviderService.GetTokensFromRefreshToken",
            "AWSCognitoIdentityProviderService.GetUserAttributeVerificationCode",
        ] {
            assert!(!post(target, "{}"), "{target}");
        }
    }

    #[test]
    fn operations_that_read_are_known_by_their_verbs() {
        let targets = [
            "DynamoDB_20120810.GetItem",
            "DynamoDB_20120810.Query",
            "AmazonSQS.ListQueues",
        ];
        assert!(targets.iter().all(|target| post(target, "{}")));
        assert!(post("", "Action=DescribeInstances&Version=2016-11-15"));
        for target in [
            "DynamoDB_20120810.PutItem",
            "AmazonSQS.ReceiveMessage",
            "X.Getaway",
            "X.",
            "",
        ] {
            assert!(!post(target, "{}"), "{target}");
        }
        assert!(!post("", "Action=RunInstances&Name=GetItem"));
    }
}
