package builtin

// entries are all plugins in the order they run, which is Kubernetes', and
// whether it is on by default: as there, but for DenyServiceExternalIPs, which
// closes CVE-2020-8554.
var entries = []entry{
	{"NamespaceLifecycle", true, newNamespaceLifecycle},
	{"LimitRanger", true, newLimitRanger},
	{"ServiceAccount", true, newServiceAccount},
	{"NodeRestriction", false, newNodeRestriction},
	{"TaintNodesByCondition", true, newTaintNodesByCondition},
	{"AlwaysPullImages", false, newAlwaysPullImages},
	{"PodSecurity", true, newPodSecurity},
	{"PodNodeSelector", false, newPodNodeSelector},
	{"Priority", true, newPriority},
	{"DefaultTolerationSeconds", true, newDefaultTolerationSeconds},
	{"PodTolerationRestriction", false, newPodTolerationRestriction},
	{"EventRateLimit", false, newEventRateLimit},
	{"ExtendedResourceToleration", false, newExtendedResourceToleration},
	{"DefaultStorageClass", true, newDefaultStorageClass},
	{"StorageObjectInUseProtection", true, newStorageObjectInUseProtection},
	{"OwnerReferencesPermissionEnforcement", false, newOwnerReferences},
	{"PersistentVolumeClaimResize", true, newPersistentVolumeClaimResize},
	{"RuntimeClass", true, newRuntimeClass},
	{"CertificateApproval", true, newCertificateApproval},
	{"CertificateSigning", true, newCertificateSigning},
	{"ClusterTrustBundleAttest", true, newClusterTrustBundleAttest},
	{"CertificateSubjectRestriction", true, newCertificateSubjectRestriction},
	{"DefaultIngressClass", true, newDefaultIngressClass},
	{"DenyServiceExternalIPs", true, newDenyServiceExternalIPs},
	{"PodTopologyLabels", true, newPodTopologyLabels},
	{"MutatingAdmissionPolicy", true, given("MutatingAdmissionPolicy")},
	{"MutatingAdmissionWebhook", true, given("MutatingAdmissionWebhook")},
	{"ValidatingAdmissionPolicy", true, given("ValidatingAdmissionPolicy")},
	{"ValidatingAdmissionWebhook", true, given("ValidatingAdmissionWebhook")},
	{"ResourceQuota", true, newResourceQuota},
}
