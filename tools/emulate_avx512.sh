#!/usr/bin/env bash
# emulate_avx512.sh [options] ELF [ARGS...]
#
# Runs a Linux x86-64 program under full-system emulation by Bochs, on an emulated CPU
# that has AVX-512 (F, CD, DQ, BW, VL), on a host that need not have it.  Prints what the
# program prints (stdout on stdout, stderr on stderr, as it comes) and exits with its exit
# status (128+N if signal N ended it; 124 on time-out; 125 if the emulation itself failed).
#
# A Debian kernel is started directly: a 64 KiB ROM made here stands in for the BIOS and
# jumps to the kernel's PVH entry point; the kernel (uncompressed) and a fresh initramfs
# with the program are put into the guest's memory by Bochs. No ISO, no boot loader.
#
#   -t SECS   limit on the run, in seconds of the host's clock (default 300)
#   -m MB     guest memory (default 512, more if the program's files are large)
#   -c MODEL  CPU model (default corei7_skylake_x; corei3_cnl, corei7_icelake_u, tigerlake have more of AVX-512)
#   -f FILE[:GUESTPATH]  put a file into the guest too (default: under its base name in /tmp,
#             which is the program's working directory); may be repeated
#   -e VAR=VALUE  environment variable for the program; may be repeated
#   -k DIR    keep the work directory as DIR (bochsrc, logs, serial.txt)
#   -v        verbose: kernel messages and timing on stderr
#   --setup   only fetch and prepare the kernel (into $BOCHS_CACHE), then exit
# Environment: BOCHS_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/bochs-avx512): the prepared
#   kernel and init; VMLINUZ: a bzImage to use instead of fetching Debian's (must have PVH);
#   BOCHS_NICE (default 10); BOCHS_IPS (default 50000000).
# Debian packages: bochs bochsbios bochs-term lz4 python3 gcc libc6-dev (apt, dpkg to fetch
#   the kernel package named by linux-image-cloud-amd64, which is unpacked, not installed).
set -euo pipefail
die(){ echo "emulate_avx512: $*" >&2; exit 125; }
T=300 M=0 CPU=corei7_skylake_x KEEP= V=0 SETUP=0 FILES=() ENVS=()
while [ $# -gt 0 ]; do case $1 in
  -t) T=$2; shift 2;; -m) M=$2; shift 2;; -c) CPU=$2; shift 2;; -k) KEEP=$2; shift 2;;
  -f) FILES+=("$2"); shift 2;; -e) ENVS+=("$2"); shift 2;; -v) V=1; shift;;
  --setup) SETUP=1; shift;; --) shift; break;; -*) die "unknown option $1";; *) break;; esac; done
for c in bochs-bin python3; do command -v $c >/dev/null || die "$c is missing: apt-get install --no-install-recommends bochs bochsbios bochs-term lz4 python3"; done
CACHE=${BOCHS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bochs-avx512}; mkdir -p "$CACHE"
W=$(mktemp -d "${TMPDIR:-/tmp}/bochs-run.XXXXXX"); trap '[ -n "$KEEP" ] && { rm -rf "$KEEP"; cp -r "$W" "$KEEP"; }; rm -rf "$W"' EXIT

# ---- once: kernel and /init --------------------------------------------------------------
if [ ! -s "$CACHE/vmlinux.info" ] || { [ -n "${VMLINUZ:-}" ] && [ "$VMLINUZ" -nt "$CACHE/vmlinux.info" ]; }; then
  if [ -z "${VMLINUZ:-}" ]; then
    command -v lz4 >/dev/null || die "lz4 is missing: apt-get install lz4"
    K=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/{print $2; exit}'); [ -n "$K" ] || die "no linux-image-cloud-amd64: apt-get update first"
    mkdir "$W/k"; (cd "$W/k" && apt-get -qq download "$K" 2>apt.err && dpkg -x ./*.deb x) || { cat "$W/k/apt.err" >&2; die "cannot download $K"; }
    VMLINUZ=$(echo "$W"/k/x/boot/vmlinuz-*)
  fi
  python3 - "$VMLINUZ" "$W/vmlinux" <<'PY' || die "cannot unpack the kernel"
import struct,subprocess,sys,json
d=open(sys.argv[1],'rb').read()
off,ln=struct.unpack_from('<II',d,0x248); p=((d[0x1f1] or 4)+1)*512+off; pay=d[p:p+ln]
tool={b'\x02\x21':['lz4','-dc'],b'\x1f\x8b':['gzip','-dc'],b'\xfd7':['xz','-dc'],b'\x28\xb5':['zstd','-dc']}[pay[:2]]
v=subprocess.run(tool,input=pay if pay[:2]==b'\x7fE' else pay[:-4],stdout=subprocess.PIPE,check=True).stdout
assert v[:4]==b'\x7fELF'
phoff,=struct.unpack_from('<Q',v,32); es,n=struct.unpack_from('<HH',v,54); segs=[]; pvh=None
for i in range(n):
    t,f,o,va,pa,fs,ms,al=struct.unpack_from('<IIQQQQQQ',v,phoff+i*es)
    if t==1: segs.append((pa,o,fs,ms))
    if t==4:
        q=o
        while q<o+fs:
            ns,ds,ty=struct.unpack_from('<III',v,q); dd=q+12+((ns+3)&~3)
            if v[q+12:q+12+ns]==b'Xen\0' and ty==18: pvh=int.from_bytes(v[dd:dd+ds],'little')
            q=dd+((ds+3)&~3)
assert pvh, 'no PVH entry point in this kernel'
base=min(s[0] for s in segs); end=max(s[0]+s[3] for s in segs); img=bytearray(end-base)
for pa,o,fs,ms in segs: img[pa-base:pa-base+fs]=v[o:o+fs]
open(sys.argv[2],'wb').write(img)
json.dump(dict(base=base,end=end,pvh=pvh),open(sys.argv[2]+'.info','w'))
PY
  mv "$W/vmlinux" "$CACHE/vmlinux.$$" && mv "$CACHE/vmlinux.$$" "$CACHE/vmlinux"; cp "$W/vmlinux.info" "$CACHE/vmlinux.info.$$" && mv "$CACHE/vmlinux.info.$$" "$CACHE/vmlinux.info"
  rm -rf "$W/k"
fi
cat > "$W/init.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* PID 1. /args holds argc, argv, then the environment, all NUL-terminated.
   stdout goes byte by byte to Bochs' first parallel port, stderr to the second one. */
static void par(int base,const char*b,int n){
  for(int i=0;i<n;i++){ outb(b[i],base); outb(0x0d,base+2); outb(0x0c,base+2); } }
static void chars(int port,const char*s){ for(;*s;s++) outb(*s,port); }
static char buf[1<<18];
static int copy(int fd,int base){ int n=read(fd,buf,sizeof buf); if(n>0) par(base,buf,n); return n; }
int main(void){
  mkdir("/proc",0755); mkdir("/dev",0755); mkdir("/sys",0755); mkdir("/tmp",01777);
  mount("proc","/proc","proc",0,0); mount("devtmpfs","/dev","devtmpfs",0,0); mount("sysfs","/sys","sysfs",0,0);
  mkdir("/dev/shm",01777); mount("tmpfs","/dev/shm","tmpfs",0,0);
  if(iopl(3)) _exit(1);
  outb(0x0c,0x37a); outb(0x0c,0x27a);
  static char ab[1<<20]; char*v[8192]; int n=0,f=open("/args",O_RDONLY),l=read(f,ab,sizeof ab-1),e=0; close(f);
  int ac=atoi(ab); char*p0=ab+strlen(ab)+1;
  for(char*p=p0;p<ab+l&&n<8190;p+=strlen(p)+1){ v[n++]=p; if(n==ac){ v[n++]=0; e=n; } } v[n]=0;
  int o[2],r[2]; pipe2(o,O_CLOEXEC); pipe2(r,O_CLOEXEC); fcntl(o[0],F_SETPIPE_SZ,1<<20);
  chdir("/tmp");
  chars(0x3f8,"@@BEGIN@@\n");
  pid_t c=fork();
  if(!c){ int z=open("/dev/null",O_RDONLY); dup2(z,0); dup2(o[1],1); dup2(r[1],2);
    execve("/prog",v,v+e); dprintf(2,"emulate_avx512: exec: %s\n",strerror(errno)); _exit(127); }
  close(o[1]); close(r[1]);
  struct pollfd p[2]={{o[0],POLLIN,0},{r[0],POLLIN,0}}; int st=0,done=0;
  while(p[0].fd>=0||p[1].fd>=0){
    int k=poll(p,2,done?0:50);
    if(k==0){ if(done) break; }
    for(int i=0;i<2;i++) if(p[i].fd>=0&&(p[i].revents&(POLLIN|POLLHUP))) if(copy(p[i].fd,i?0x278:0x378)<=0) p[i].fd=-1;
    if(!done) { pid_t w; while((w=waitpid(-1,&st,WNOHANG))>0) if(w==c){ done=1; break; } }
  }
  while(!done){ pid_t w=wait(&st); if(w==c) done=1; }
  int rc=WIFEXITED(st)?WEXITSTATUS(st):128+WTERMSIG(st);
  if(WIFSIGNALED(st)){
    int m=snprintf(buf,sizeof buf,"emulate_avx512: ended by signal %d (%s)\n",WTERMSIG(st),strsignal(WTERMSIG(st))); par(0x278,buf,m);
    m=klogctl(3,buf,sizeof buf-1); if(m>0){ buf[m]=0;
      for(char*s=strtok(buf,"\n");s;s=strtok(0,"\n")) if(strstr(s,"prog[")){ par(0x278,s,strlen(s)); par(0x278,"\n",1);} } }
  char t[64]; snprintf(t,sizeof t,"@@END@@ %d\n",rc);
  /* the serial port, with its FIFO waited for */
  for(char*s=t;*s;s++){ while(!(inb(0x3fd)&0x20)); outb(*s,0x3f8); }
  while((inb(0x3fd)&0x60)!=0x60);
  chars(0x8900,"Shutdown");   /* ends Bochs at once */
  reboot(RB_POWER_OFF); for(;;) pause();
}
C
S=$(cksum < "$W/init.c" | tr -d ' ')
if [ ! -s "$CACHE/init-$S" ]; then ${CC:-gcc} -O2 -w -static "$W/init.c" -o "$W/init" || die "cannot compile /init"; mv "$W/init" "$CACHE/init-$S.$$"; mv "$CACHE/init-$S.$$" "$CACHE/init-$S"; fi
[ $SETUP = 1 ] && exit 0
[ $# -ge 1 ] || die "usage: emulate_avx512.sh [options] ELF [ARGS...]"
[ -f "$1" ] || die "no such file: $1"

# ---- each time: image, emulator ----------------------------------------------------------
export W CACHE T M CPU V INIT="$CACHE/init-$S"
set +e
FJ=$(printf '%s\n' "${FILES[@]+"${FILES[@]}"}") EJ=$(printf '%s\0' "${ENVS[@]+"${ENVS[@]}"}" | base64 -w0) python3 - "$@" <<'PY'
import base64,json,os,pty,re,select,signal,stat,struct,subprocess,sys,time
t0=time.time(); E=os.environ; W=E['W']; C=E['CACHE']; V=E['V']=='1'
ips=int(E.get('BOCHS_IPS','50000000')); prog=sys.argv[1]
# initramfs (cpio newc), written here so that device nodes need no root
out=bytearray(); ino=[0]; dirs=set()
def ent(name,mode,data=b'',rdev=(0,0)):
    ino[0]+=1; nb=name.encode()+b'\0'
    h='070701'+''.join('%08X'%x for x in (ino[0],mode,0,0,1,0,len(data),0,0,rdev[0],rdev[1],len(nb),0))
    out.extend(h.encode()+nb); out.extend(b'\0'*(-len(out)%4)); out.extend(data); out.extend(b'\0'*(-len(out)%4))
def mkdirs(p):
    d=os.path.dirname(p)
    if d and d not in dirs: mkdirs(d); dirs.add(d); ent(d,stat.S_IFDIR|(0o1777 if d=='tmp' else 0o755))
def add(host,guest,mode=None):
    guest=guest.lstrip('/'); mkdirs(guest)
    ent(guest,stat.S_IFREG|(mode or os.stat(host).st_mode&0o777),open(host,'rb').read())
ent('dev',stat.S_IFDIR|0o755); dirs.add('dev')
ent('dev/console',stat.S_IFCHR|0o600,rdev=(5,1)); ent('dev/null',stat.S_IFCHR|0o666,rdev=(1,3))
ent('tmp',stat.S_IFDIR|0o1777); dirs.add('tmp')
add(E['INIT'],'init',0o755); add(prog,'prog',0o755)
h=open(prog,'rb').read(1<<20)
phoff,=struct.unpack_from('<Q',h,32); es,n=struct.unpack_from('<HH',h,54)
if any(struct.unpack_from('<I',h,phoff+i*es)[0]==3 for i in range(n)):   # dynamic: bring its libraries
    for l in subprocess.run(['ldd',prog],stdout=subprocess.PIPE,text=True).stdout.splitlines():
        m=re.search(r'(/\S+) \(0x',l)
        if m: add(m[1],m[1],0o755)
        elif 'not found' in l: sys.exit('emulate_avx512: '+l.strip())
for f in E['FJ'].split('\n'):
    if f: a,_,b=f.partition(':'); add(a,b or 'tmp/'+os.path.basename(a))
env=[b'PATH=/bin:/usr/bin',b'HOME=/tmp',b'TMPDIR=/tmp']+[x for x in base64.b64decode(E['EJ']).split(b'\0') if x]
ent('args',stat.S_IFREG|0o644,b'\0'.join([b'%d'%(len(sys.argv)-1)]+[os.fsencode(x) for x in sys.argv[1:]])+b'\0'+b'\0'.join(env)+b'\0')
ent('TRAILER!!!',0)
I=json.load(open(C+'/vmlinux.info')); BASE=I['base']; al=lambda x,a:(x+a-1)//a*a
SI=al(I['end'],1<<20); IRD=SI+(1<<20); END=IRD+len(out)
mem=int(E['M']) or max(512,256+3*len(out)//(1<<20)); memb=mem<<20
cmd=('console=ttyS0,115200 nokaslr mitigations=off nosmp nr_cpus=1 tsc=reliable no_timer_check lpj=%d '
 'tsc_early_khz=%d 8250.nr_uarts=1 panic=-1 oops=panic rdinit=/init acpi=off pci=off nopku noxsaves clearcpuid=xsavec,xsaves,pku,user_shstk,ibt,rdpid,umip,fsrm,la57,sgx,invpcid,pcid '
 'cryptomgr.notests lsm= audit=0 initcall_blacklist=crypto_kdf108_init,load_system_certificate_list,trace_eval_init,'
 'init_kprobe_trace,cubictcp_register,tracer_init_tracefs,init_evm,bpf_rstat_kfunc_init,init_hw_perf_events %s')%(ips//250,ips//1000,
 'ignore_loglevel' if V else 'quiet loglevel=4')
# PVH start info, module list, memory map, command line
b=bytearray(0x2000); mm=[(0,0x9f000,1),(0x9f000,0x61000,2),(0x100000,memb-0x100000,1)]
b[0:56]=struct.pack('<IIIIQQQQII',0x336ec578,1,0,1,SI+0x100,SI+0x1000,0,SI+0x200,len(mm),0)
b[0x100:0x120]=struct.pack('<QQQQ',IRD,len(out),0,0)
for i,(a,s,t) in enumerate(mm): b[0x200+24*i:0x218+24*i]=struct.pack('<QQII',a,s,t,0)
c=cmd.encode()+b'\0'; b[0x1000:0x1000+len(c)]=c; assert len(b)==0x2000
# Bochs 2.7 gives memory blocks host memory in the order of their first use, but reads a RAM image
# into consecutive host memory: so there must be one image only, and the ROM touches all of
# its pages in ascending order before anything else is touched.
with open(W+'/ram.img','wb') as f:
    f.write(open(C+'/vmlinux','rb').read()); f.seek(SI-BASE); f.write(b); f.seek(IRD-BASE); f.write(out)
r=bytearray(b'\xf4'*65536); gdt=0x100; gdtr=0x140; pm=0x40
c=(b'\xfa\xb8\x00\xf0\x8e\xd8\xe4\x92\x0c\x02\xe6\x92'                 # cli; ds=f000; A20 on
  +b'\x66\x0f\x01\x16'+struct.pack('<H',gdtr)+b'\x0f\x20\xc0\x0c\x01\x0f\x22\xc0'  # lgdt; cr0.PE=1
  +b'\x66\xea'+struct.pack('<IH',0xf0000+pm,8)); assert len(c)<=pm; r[:len(c)]=c
l=b'\x8a\x06\x81\xc6'+struct.pack('<I',0x1000)+b'\x81\xfe'+struct.pack('<I',END)   # mov al,[esi]; add esi,4096; cmp esi,END
c=(b'\xb8\x10\0\0\0\x8e\xd8\x8e\xc0\x8e\xd0\x8e\xe0\x8e\xe8\xbe'+struct.pack('<I',BASE)+l+b'\x72'+struct.pack('<b',-(len(l)+2))
  +b'\xbb'+struct.pack('<I',SI)+b'\xb8'+struct.pack('<I',I['pvh'])+b'\xff\xe0')    # ebx=start info; jmp entry
r[pm:pm+len(c)]=c; r[gdt:gdt+24]=struct.pack('<QQQ',0,0x00cf9b000000ffff,0x00cf93000000ffff)
r[gdtr:gdtr+6]=struct.pack('<HI',23,0xf0000+gdt); r[0xfff0:0xfff3]=b'\xe9'+struct.pack('<H',(-0xfff3)&0xffff)
open(W+'/rom.bin','wb').write(r)
open(W+'/dbg','w').write('c\n')                                        # Debian's Bochs has the debugger built in
open(W+'/bochsrc','w').write(f'''plugin_ctrl: unmapped=1, biosdev=0, serial=1, parallel=1, speaker=0, iodebug=0
display_library: term
config_interface: textconfig
romimage: file={W}/rom.bin, address=0xffff0000
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
optramimage1: file={W}/ram.img, address={BASE:#x}
megs: {mem}
cpu: count=1, model={E['CPU']}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=utc
pci: enabled=1, chipset=i440fx
ata0: enabled=0
com1: enabled=1, mode=file, dev={W}/serial.txt
parport1: enabled=1, file={W}/out.txt
parport2: enabled=1, file={W}/err.txt
sound: driver=dummy, waveoutdrv=dummy
log: {W}/bochs.log
panic: action=fatal
error: action=ignore
info: action=report
''')
for f in ('serial.txt','out.txt','err.txt'): open(W+'/'+f,'w').close()
t1=time.time(); pid,fd=pty.fork()
if pid==0:
    os.environ['TERM']='vt100'; os.nice(int(E.get('BOCHS_NICE','10')))
    os.execvp('bochs-bin',['bochs-bin','-q','-f',W+'/bochsrc','-rc',W+'/dbg'])
pos={'out.txt':0,'err.txt':0,'serial.txt':0}; scr=open(W+'/screen.txt','wb'); began=None
def pump():
    global began
    for f,d in (('out.txt',1),('err.txt',2),('serial.txt',2)):
        with open(W+'/'+f,'rb') as g: g.seek(pos[f]); x=g.read()
        pos[f]+=len(x)
        if f=='serial.txt':
            if b'@@BEGIN' in x: began=time.time()
            if not V: continue
        while x: x=x[os.write(d,x):]
end=t1+float(E['T']); late=False
def stop(*a): os.kill(pid,signal.SIGKILL); os.waitpid(pid,0); sys.exit(130)
signal.signal(signal.SIGTERM,stop); signal.signal(signal.SIGINT,stop)
while True:
    rd,_,_=select.select([fd],[],[],0.1)
    if rd:
        try: x=os.read(fd,65536)
        except OSError: x=b''
        if not x: break
        scr.write(x); scr.flush()
        if b'<bochs:' in x[-60:]: break                                # stopped in the debugger: should not be
    pump()
    if time.time()>end: late=True; break
try: os.kill(pid,signal.SIGKILL)
except ProcessLookupError: pass
ru=os.wait4(pid,0)[2]; pump(); t2=time.time()
serial=open(W+'/serial.txt',errors='replace').read(); m=re.search(r'@@END@@ (\d+)',serial)
if V:
    k=re.findall(r'^(\d{11})[a-z]',open(W+'/bochs.log',errors='replace').read(),re.M)
    sys.stderr.write('emulate_avx512: image %.1f s, emulation %.1f s (boot %.1f s, program %.1f s; CPU time %.1f s), %s M ticks\n'%(t1-t0,t2-t1,(began or t2)-t1,t2-(began or t2),ru.ru_utime+ru.ru_stime,int(k[-1])//10**6 if k else '?'))
if m: sys.exit(int(m[1]))
if late: sys.stderr.write('emulate_avx512: time limit of %s s reached%s\n'%(E['T'],'' if began else ' while the guest was booting')); sys.exit(124)
sys.stderr.write('emulate_avx512: the emulation ended without a result; last of its logs:\n'+serial[-1500:]+'\n'+open(W+'/screen.txt',errors='replace').read()[-800:]+'\n'); sys.exit(125)
PY
rc=$?; exit $rc
