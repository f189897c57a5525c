/* A PKCS#11 module that fails: SoftHSM2's, but for what HOSTILE says.
 *
 *   HOSTILE=abort    ends the process in C_Sign
 *   HOSTILE=hang     never comes back from C_Sign
 *   HOSTILE=load     ends the process in C_Initialize
 *   HOSTILE=giant    claims that a signature has 2^62 bytes
 *
 * With HOSTILE_ONCE=FILE it does so only while that file is not there, and makes it first.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long CK_RV;

/* CK_FUNCTION_LIST of version 2.40: the version, then 68 functions in the order of the standard. */
struct list {
    unsigned char major, minor;
    void *functions[68];
};
enum { INITIALIZE = 0, SIGN = 43 };

static struct list ours;
static CK_RV (*their_sign)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *);
static CK_RV (*their_initialize)(void *);

static int is(const char *what)
{
    const char *hostile = getenv("HOSTILE"), *once = getenv("HOSTILE_ONCE");
    if (!hostile || strcmp(hostile, what))
        return 0;
    return !once || open(once, O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0;
}

static CK_RV sign(unsigned long session, unsigned char *data, unsigned long length, unsigned char *signature,
                  unsigned long *signature_length)
{
    if (is("abort"))
        abort();
    if (is("hang"))
        for (;;)
            pause();
    if (is("giant")) {
        *signature_length = 1UL << 62;
        return 0;
    }
    return their_sign(session, data, length, signature, signature_length);
}

static CK_RV initialize(void *arguments)
{
    if (is("load"))
        abort();
    return their_initialize(arguments);
}

CK_RV C_GetFunctionList(struct list **list)
{
    void *module = dlopen(getenv("HOSTILE_BEHIND"), RTLD_NOW);
    CK_RV (*theirs)(struct list **) = module ? dlsym(module, "C_GetFunctionList") : NULL;
    struct list *behind;
    if (!theirs || theirs(&behind))
        return 5; /* CKR_GENERAL_ERROR */
    ours = *behind;
    their_sign = ours.functions[SIGN];
    their_initialize = ours.functions[INITIALIZE];
    ours.functions[SIGN] = sign;
    ours.functions[INITIALIZE] = initialize;
    *list = &ours;
    return 0;
}
