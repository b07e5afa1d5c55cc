package tree

import "golang.org/x/sys/unix"

// remoteTypes are the file systems (statfs f_type) that other hosts may change, or that show their files late.
var remoteTypes = map[int64]bool{
	unix.NFS_SUPER_MAGIC: true, unix.SMB_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true,
	unix.CEPH_SUPER_MAGIC: true, unix.AFS_SUPER_MAGIC: true, unix.AFS_FS_MAGIC: true, unix.CODA_SUPER_MAGIC: true,
	unix.V9FS_MAGIC: true, unix.FUSE_SUPER_MAGIC: true,
	0x0BD00BD0: true, // Lustre
	0x47504653: true, // GPFS
	0x19830326: true, // BeeGFS
	0x013111A8: true, // IBRIX
	0x7C7C6673: true, // PRL_FS
}

// Remote reports whether dir is on a file system that other hosts may change too. What cannot be told counts as such.
func Remote(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) != nil || remoteTypes[int64(s.Type)&0xFFFFFFFF]
}
