//! Which requests only read, although they are POSTs.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

/// Returns whether a request is an operation that only reads, by the name of the operation: in the header of the JSON
/// protocols, or in the form of the query protocols.
pub(crate) fn is_read(request: &HttpRequest) -> bool {
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|target| target.rsplit('.').next());
    let operation = target.or_else(|| {
        let form = std::str::from_utf8(request.body().bytes()?).ok()?;
        let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == "Action").then_some(value))
    });
    operation.is_some_and(|operation| READS.iter().any(|read| is_named(operation, read)))
}

/// Returns whether a name is the word or begins with it: `Get` and `GetItem`, and not `Getaway`.
fn is_named(operation: &str, word: &str) -> bool {
    let rest = operation.strip_prefix(word);
    rest.is_some_and(|rest| rest.chars().next().is_none_or(char::is_uppercase))
}

/// AWS names its operations after verbs. These have no effect on what is stored.
const READS: [&str; 6] = ["BatchGet", "Describe", "Get", "List", "Query", "Scan"];

#[cfg(test)]
mod tests {
    use super::*;

    fn post(target: &str, body: &str) -> bool {
        let mut request = HttpRequest::new(body.into());
        request.set_method("POST").unwrap();
        if !target.is_empty() {
            request
                .headers_mut()
                .insert("x-amz-target", target.to_owned());
        }
        is_read(&request)
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
