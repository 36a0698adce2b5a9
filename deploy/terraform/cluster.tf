resource "aws_iam_role" "cluster" {
  name_prefix        = "${var.name}-cluster-"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [local.assumed_by["eks.amazonaws.com"]] })
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_cluster" "this" {
  name     = var.name
  version  = var.kubernetes_version
  role_arn = aws_iam_role.cluster.arn

  vpc_config {
    subnet_ids              = aws_subnet.private[*].id
    endpoint_private_access = true
    endpoint_public_access  = length(var.admin_networks) > 0
    public_access_cidrs     = length(var.admin_networks) > 0 ? var.admin_networks : null
  }

  access_config {
    authentication_mode = "API"
  }

  depends_on = [aws_iam_role_policy_attachment.cluster]
}

resource "aws_eks_addon" "this" {
  for_each     = toset(["vpc-cni", "coredns", "kube-proxy", "aws-ebs-csi-driver", "eks-pod-identity-agent"])
  cluster_name = aws_eks_cluster.this.name
  addon_name   = each.key
  depends_on   = [aws_eks_node_group.small]
}

resource "aws_iam_role" "node" {
  name_prefix        = "${var.name}-node-"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [local.assumed_by["ec2.amazonaws.com"]] })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset([
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryReadOnly",
    "service-role/AmazonEBSCSIDriverPolicy",
  ])
  role       = aws_iam_role.node.name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_eks_node_group" "small" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "small"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = aws_subnet.private[*].id
  instance_types  = [var.small_nodes.type]
  labels          = { pool = "small" }

  scaling_config {
    desired_size = var.small_nodes.least
    min_size     = var.small_nodes.least
    max_size     = var.small_nodes.most
  }

  depends_on = [aws_iam_role_policy_attachment.node]
}

# steps: {fit: {pod: {node_selector: {pool: large}, tolerations: [{key: large, operator: Exists, effect: NoSchedule}]}}}
resource "aws_eks_node_group" "large" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "large"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = aws_subnet.private[*].id
  instance_types  = [var.large_nodes.type]
  labels          = { pool = "large" }

  taint {
    key    = "large"
    value  = "true"
    effect = "NO_SCHEDULE"
  }

  scaling_config {
    desired_size = var.large_nodes.least
    min_size     = var.large_nodes.least
    max_size     = var.large_nodes.most
  }

  depends_on = [aws_iam_role_policy_attachment.node]
}
