use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Parser;
use serde::Deserialize;
use serde_json::Value;
use wstap::cli::Cli;

use crate::suite::common::peers;
use crate::suite::common::sources::root;

fn folder() -> PathBuf {
    root().join("deploy/kubernetes")
}

/// The documents of a file.
fn documents(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file)).expect("a file");
    let documents = serde_norway::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).expect("YAML")).collect()
}

fn of_kind(kind: &str) -> Value {
    let mut found = documents("wstap.yaml").into_iter().filter(|document| document["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "one {kind}");
    one
}

#[test]
fn the_kustomization_names_files_that_there_are() {
    let kustomization = &documents("kustomization.yaml")[0];
    let resources = kustomization["resources"].as_array().expect("a list");
    assert!(!resources.is_empty());
    for resource in resources {
        assert!(folder().join(resource.as_str().expect("text")).is_file(), "{resource}");
    }
}

/// What selects pods by label or port must find those of the DaemonSet.
#[test]
fn service_and_pod_monitor_find_the_pods() {
    let set = of_kind("DaemonSet");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let ports = &set["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let service = of_kind("Service");
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], ports[0]["name"]);
    let monitor = &documents("podmonitor.yaml")[0];
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], ports[0]["name"]);
    let namespace = &of_kind("Namespace")["metadata"]["name"];
    for document in [&set, &service, monitor] {
        assert_eq!(&document["metadata"]["namespace"], namespace);
    }
}

#[test]
fn the_daemon_set_runs_what_this_version_takes_without_privilege() {
    let set = of_kind("DaemonSet");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = container["args"].as_array().expect("a list");
    let arguments = arguments.iter().map(|argument| argument.as_str().expect("text"));
    Cli::try_parse_from(std::iter::once("wstap").chain(arguments)).expect("flags of wstap");
    // Without a host: where images are is for the cluster to say.
    let image = format!("wstap:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"], image.as_str());
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let security = &container["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let port = &container["ports"][0]["containerPort"];
    let listens = format!("0.0.0.0:{port}");
    assert!(container["args"].as_array().is_some_and(|it| it.iter().any(|a| a == &*listens)));
}

/// By the schemas of Kubernetes, which come with the tool.
#[test]
fn the_manifests_have_the_shape_that_kubernetes_takes() {
    let Some(validate) = peers::installed("venv/bin/kubernetes-validate") else { return };
    let output = Command::new(validate)
        .arg("--strict")
        .arg(folder().join("wstap.yaml"))
        .output()
        .expect("the tool starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// By the schema of the Prometheus operator, which comes as a package for Node.js.
#[test]
fn the_pod_monitor_has_the_shape_that_the_operator_takes() {
    let models = "@kubernetes-models/prometheus-operator";
    let Some(node) = peers::installed("node") else { return };
    let Some(folder) = peers::installed(&format!("node_modules/{models}")) else { return };
    let program = format!(
        "import {{ readFileSync }} from 'node:fs';
         import {{ PodMonitor }} from '{models}/monitoring.coreos.com/v1/PodMonitor';
         new PodMonitor(JSON.parse(readFileSync(0, 'utf8'))).validate();"
    );
    let judge = |monitor: &Value| {
        let mut judge = Command::new(&node)
            .args(["--input-type=module", "--eval", &program])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = judge.stdin.take().expect("piped");
        serde_json::to_writer(input, monitor).expect("it reads");
        let output = judge.wait_with_output().expect("it ends");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut monitor = documents("podmonitor.yaml").remove(0);
    let (taken, said) = judge(&monitor);
    assert!(taken, "{said}");
    // It does look.
    monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["sourceLabels"] = "one".into();
    let (taken, said) = judge(&monitor);
    assert!(!taken && said.contains("sourceLabels must be array"), "{said}");
}

/// What is copied into the image is there, or made by the command that the file names.
#[test]
fn the_containerfile_copies_what_there_is() {
    let text = std::fs::read_to_string(root().join("deploy/Containerfile")).expect("a file");
    let made = root().join("deploy/package");
    let made = std::fs::read_to_string(made).expect("a file");
    let mut copied = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let to = words.pop().expect("where to");
        for from in words {
            let is_made = from.starts_with("target/stage/") && made.contains("stage=target/stage");
            assert!(is_made || root().join(from).is_file(), "{from}");
        }
        copied.push(to.to_owned());
    }
    let run = text.lines().filter_map(|line| line.strip_prefix("ENTRYPOINT [\""));
    let run: Vec<&str> = run.filter_map(|line| line.split('"').next()).collect();
    assert_eq!(run, ["/wstap"]);
    assert!(copied.iter().any(|to| to == run[0]), "{copied:?}");
    let check = text.lines().find(|line| line.starts_with("HEALTHCHECK")).expect("a health check");
    let command = check.split_once("CMD ").expect("a command").1;
    let command: Vec<String> = serde_json::from_str(command).expect("a list");
    assert_eq!(command[0], run[0]);
    Cli::try_parse_from(&command).expect("a command of wstap");
}
