/*
 * compat.h
 *	  Room for what differs between the versions of PostgreSQL and libcurl we build on.
 *	  Version guards live here and nowhere else; include it where one is needed.
 */
#ifndef PAYOUT_COMPAT_H
#define PAYOUT_COMPAT_H

#include <curl/curlver.h>

#include "storage/latch.h"
#include "utils/memutils.h"

/* 17 replaced the memory context by a resource owner; NULL means "for the life of the process". */
#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define compat_create_wait_event_set(nevents) CreateWaitEventSet(TopMemoryContext, (nevents))
#endif

/* 16 took the macros of variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 15 brought the hook in which shared memory is asked for; before, _PG_init asks itself. */
#define COMPAT_SHMEM_REQUEST_HOOK (PG_VERSION_NUM >= 150000)

/* 16 moved the columns that a statement updates from the entry of the range table to one of its permissions. */
#if PG_VERSION_NUM >= 160000
#define compat_init_range_table(estate, rte)                                               \
	ExecInitRangeTable((estate), list_make1(rte), list_make1(makeNode(RTEPermissionInfo)), \
					   bms_make_singleton(1))
#define compat_set_updated_columns(estate, rte, columns) \
	(linitial_node(RTEPermissionInfo, (estate)->es_rteperminfos)->updatedCols = (columns))
#define compat_set_permissions(rte) ((rte)->perminfoindex = 1)
#else
#define compat_init_range_table(estate, rte) ExecInitRangeTable((estate), list_make1(rte))
#define compat_set_updated_columns(estate, rte, columns) ((rte)->updatedCols = (columns))
#define compat_set_permissions(rte) ((void) (rte))
#endif

/* 16 knows of summarizing indexes (BRIN), which an update may concern alone; the tables that are updated have none. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CompatUpdateIndexes;
#define compat_insert_index_tuples(result, slot, estate, update, conflict) \
	ExecInsertIndexTuples((result), (slot), (estate), (update), (conflict) != NULL, (conflict), NIL, false)
#else
typedef bool CompatUpdateIndexes;
#define compat_insert_index_tuples(result, slot, estate, update, conflict) \
	ExecInsertIndexTuples((result), (slot), (estate), (update), (conflict) != NULL, (conflict), NIL)
#endif

/* 17 renamed what the server knows of transactions' ids. */
#if PG_VERSION_NUM >= 170000
#define compat_oldest_xid() (TransamVariables->oldestXid)
#else
#define compat_oldest_xid() (ShmemVariableCache->oldestXid)
#endif

/* 18 counts the searches of an index for EXPLAIN. */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, keys) \
	index_beginscan((heap), (index), (snapshot), NULL, (keys), 0)
#else
#define compat_index_beginscan(heap, index, snapshot, keys) \
	index_beginscan((heap), (index), (snapshot), (keys), 0)
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 7.87 brought CURLOPT_QUICK_EXIT, without which a hanging name server stops the whole worker. */
#if LIBCURL_VERSION_NUM < 0x075700
#error "payout needs libcurl 7.87 or later"
#endif

#endif /* PAYOUT_COMPAT_H */
