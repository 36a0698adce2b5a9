variable "name" {
  description = "Name of everything here, and of the bucket together with the account's number."
  type        = string
  default     = "perennial"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "name has to be 3 to 31 small letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of AWS."
  type        = string
}

variable "network" {
  description = "Addresses of the network, a /16."
  type        = string
  default     = "10.40.0.0/16"
}

variable "namespace" {
  description = "Namespace of Kubernetes in which Airflow's pods, the steps and the scoring service run."
  type        = string
  default     = "perennial"
}

variable "service_account" {
  description = "Service account of these pods: `serviceAccount` of the chart, `service_account` of a step's pod."
  type        = string
  default     = "perennial"
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.31"
}

variable "admin_networks" {
  description = "Who may reach the API of Kubernetes, as CIDR blocks; nobody outside of the network by default."
  type        = list(string)
  default     = []
}

variable "database_class" {
  description = "Class of the PostgreSQL server, which holds Airflow's, MLflow's, Feast's and the ledger's databases."
  type        = string
  default     = "db.t4g.medium"
}

variable "redis_node" {
  description = "Type of the Redis nodes; the online store has some 200 bytes for each entity and view."
  type        = string
  default     = "cache.t4g.medium"
}

variable "redis_token" {
  description = "Password of Redis, 16 to 128 characters; give it as TF_VAR_redis_token."
  type        = string
  sensitive   = true
}

variable "small_nodes" {
  description = "Nodes for Airflow's components, the scoring service and small steps."
  type        = object({ type = string, least = number, most = number })
  default     = { type = "m7i.large", least = 2, most = 6 }
}

variable "large_nodes" {
  description = "Nodes with the taint `large`, for the steps that fit and search; none while nothing is trained."
  type        = object({ type = string, least = number, most = number })
  default     = { type = "r7i.4xlarge", least = 0, most = 4 }
}
