/* Gives a process an address of its own, as a Pod has one: "all addresses" becomes $POD_ADDRESS.
 *
 * A network namespace would need a privilege and addresses outside loopback. Preloaded, this makes
 * two routers that both listen on 0.0.0.0:8080 listen on 127.0.0.2:8080 and 127.0.0.3:8080.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int bind(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    const char *mine = getenv("POD_ADDRESS");
    struct sockaddr_storage changed = {0};
    struct in_addr host;

    if (mine == NULL || inet_pton(AF_INET, mine, &host) != 1 || length > sizeof changed)
        return real(socket, address, length);
    memcpy(&changed, address, length);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&changed;
        if (v4->sin_addr.s_addr == htonl(INADDR_ANY))
            v4->sin_addr = host;
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&changed;
        static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
        int is_any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ||
                     (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && !v6->sin6_addr.s6_addr32[3]);
        if (is_any) {
            int off = 0;
            setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
            memcpy(v6->sin6_addr.s6_addr, mapped, sizeof mapped);
            v6->sin6_addr.s6_addr32[3] = host.s_addr;
        }
    }
    return real(socket, (const struct sockaddr *)&changed, length);
}
