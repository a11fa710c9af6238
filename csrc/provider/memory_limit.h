/* How much memory this process may have, when it runs in a container. */
#ifndef ZBZ_PROVIDER_MEMORY_LIMIT_H
#define ZBZ_PROVIDER_MEMORY_LIMIT_H

#include <zbz/bytes.h>

/* The least limit of the control groups that the process is in (v2 memory.max, v1 memory.limit_in_bytes); INT64_MAX: none.
 * groups: text of /proc/self/cgroup; root: /sys/fs/cgroup. For tests. */
ZBZ_API int64_t zbz_mem_cgroup_limit_of(zbz_bytes groups, const char *root);
int64_t zbz_mem_cgroup_limit(void);

#endif
